package preset

import "github.com/claude-bottle/claude-bottle/internal/policy"

var readOrWrite = Param{Name: "access", Text: "Whether the repositories may be written to.", Values: []string{"read", "write"}, Default: "read"}

// github follows https://docs.github.com/en/rest. What it writes is a list of a repository's parts, not
// all below it: hooks, keys, collaborators, forks, transfers and visibility would each hand the
// repository, or what is sent to it, to somebody else.
var github = Preset{
	Name: "github",
	Text: "The named repositories, over the REST API, git and downloads, and GraphQL queries. Write adds issues, pull requests, contents, git data, " +
		"releases, checks and git push. Gists, forks, new repositories, settings, hooks, keys, GraphQL mutations and everybody else's repositories stay closed.",
	Example: "github: {repos: [acme/app], access: read}",
	Params:  []Param{{Name: "repos", Text: "Repositories, as owner/name.", List: true, Check: ownerAndName}, readOrWrite},
	Scheme:  policy.SchemeBearer,
	rules: func(a Args, h *hosts) {
		var api, changed, uploads, files, clone, push, web []string
		for _, r := range a["repos"] {
			api = append(api, "/repos/"+r)
			for _, part := range githubWrites {
				changed = append(changed, "/repos/"+r+"/"+part)
			}
			uploads = append(uploads, "/repos/"+r+"/releases")
			files = append(files, "/"+r)
			web = append(web, "/"+r+"/archive", "/"+r+"/releases/download")
			for _, dir := range []string{"/" + r, "/" + r + ".git"} {
				web = append(web, dir+"/info/refs")
				clone = append(clone, dir+"/git-upload-pack")
				push = append(push, dir+"/git-receive-pack")
			}
		}
		query := posting(exact("/graphql")...)
		query.GraphQL = policy.GraphQLQuery
		rest := []policy.Match{reading(append(under(api...), exact("/rate_limit")...)...), query}
		git := []policy.Match{reading(under(web...)...), posting(exact(clone...)...)}
		if a.writes() {
			rest = append(rest, policy.Match{Methods: changing, Paths: under(changed...)})
			git = append(git, posting(exact(push...)...))
			h.credentialed("uploads.github.com", posting(under(uploads...)...))
		}
		h.credentialed("api.github.com", rest...)
		h.open("github.com", git...)
		h.open("raw.githubusercontent.com", reading(under(files...)...))
		h.open("codeload.github.com", reading(under(files...)...))
		// A release's files are stored under the number of their repository, by signed addresses that
		// the hosts above hand out: they can be read, not told apart.
		for _, store := range []string{"objects.githubusercontent.com", "release-assets.githubusercontent.com"} {
			h.open(store, reading(policy.PathMatch{Type: policy.PathRegex, Value: `/github-production-release-asset[a-z0-9-]*/[0-9]+/[0-9A-Za-z-]+`}))
		}
	},
}

// changing are the methods that write.
var changing = []string{"POST", "PUT", "PATCH", "DELETE"}

// githubWrites are the parts of a repository that "write" opens.
var githubWrites = []string{
	"issues", "pulls", "comments", "commits", "labels", "milestones", "contents", "git", "merges",
	"releases", "statuses", "check-runs", "check-suites",
}

// gitlab follows https://docs.gitlab.com/api/rest. Its API names a project in the path by number or by
// its name with an encoded slash; a path with an encoded slash matches no rule, so numbers it is.
var gitlab = Preset{
	Name: "gitlab",
	Text: "The named projects over git and downloads, and by number over the API, and GraphQL queries. Write adds issues, merge requests, files, " +
		"commits, branches, tags, releases and git push. Forks, exports, hooks, members, keys, variables, snippets, GraphQL mutations and other projects stay closed.",
	Example: "gitlab: {repos: [acme/app], ids: [42]}",
	Params: []Param{
		{Name: "repos", Text: "Projects, as group/name.", List: true, Check: groupAndName},
		{Name: "ids", Text: "The same projects by number, for the API.", List: true, Optional: true, Check: number},
		readOrWrite,
		{Name: "host", Text: "A GitLab of your own.", Default: "gitlab.com", Check: hostName},
	},
	Scheme: policy.SchemeBearer,
	rules: func(a Args, h *hosts) {
		var api, changed, clone, push, web []string
		for _, id := range a["ids"] {
			api = append(api, "/api/v4/projects/"+id)
			for _, part := range gitlabWrites {
				changed = append(changed, "/api/v4/projects/"+id+"/"+part)
			}
		}
		for _, r := range a["repos"] {
			web = append(web, "/"+r+"/-/raw", "/"+r+"/-/archive", "/"+r+".git/info/refs")
			clone = append(clone, "/"+r+".git/git-upload-pack")
			push = append(push, "/"+r+".git/git-receive-pack")
		}
		git := []policy.Match{reading(under(web...)...), posting(exact(clone...)...)}
		if a.writes() {
			git = append(git, posting(exact(push...)...))
		}
		// The API and git share the host, and git comes without the credential: its rule is first.
		host := a.one("host")
		h.open(host, git...)
		query := posting(exact("/api/graphql")...)
		query.GraphQL = policy.GraphQLQuery
		rest := []policy.Match{query}
		if len(api) > 0 {
			rest = append(rest, reading(under(api...)...))
		}
		if a.writes() && len(changed) > 0 {
			rest = append(rest, policy.Match{Methods: changing, Paths: under(changed...)})
		}
		h.credentialed(host, rest...)
	},
}

// gitlabWrites are the parts of a project that "write" opens.
var gitlabWrites = []string{
	"issues", "merge_requests", "labels", "milestones", "releases", "statuses",
	"repository/files", "repository/commits", "repository/branches", "repository/tags",
}
