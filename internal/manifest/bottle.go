package manifest

import (
	"slices"
	"strings"
)

// Provider is the agent program a bottle asks for.
type Provider struct {
	Template string // never empty
	At       Pos    // of the template, or the zero Pos when it is the default
	// AuthToken is the host variable with the credential; empty for the template's usual ones.
	AuthToken   string
	AuthTokenAt Pos
	// Command is what the shell template runs.
	Command []string
	// Dockerfile and Base are what the bottle's own system is made from; either may be empty.
	// Dockerfile is absolute or begins with "~/".
	Dockerfile   string
	DockerfileAt Pos
	Base         string
	BaseAt       Pos
}

// Runtime is the container runtime a bottle insists on.
type Runtime struct {
	Name string
	At   Pos
}

// Unbuilt is a declared key that this version understands and can't enforce.
type Unbuilt struct {
	Key string
	At  Pos
}

// defaultTemplate is the program of a bottle that names none.
const defaultTemplate = "claude"

// layer is one bottle's settings in the form they are merged in; nil and zero fields are not
// declared.
type layer struct {
	provider  *Provider
	env       []EnvVar
	git       GitUser
	routes    *[]Route
	limits    Limits
	runtime   *Runtime
	dlp       *dlpLayer
	repos     *[]Unbuilt // empty when declared without any
	supervise *[]Unbuilt // empty when declared false
	image     []Unbuilt  // of the provider
}

// over returns l with child laid over it, by the rules of docs/MANIFEST.md: env by name, git user
// and limits by field, everything else as a whole when the child declares it.
func (l layer) over(child layer) layer {
	if child.provider != nil {
		l.provider, l.image = child.provider, child.image
	}
	if child.routes != nil {
		l.routes = child.routes
	}
	lay(&l.repos, child.repos)
	lay(&l.supervise, child.supervise)
	lay(&l.dlp, child.dlp)
	lay(&l.runtime, child.runtime)
	l.git = l.git.over(child.git)
	l.limits = l.limits.over(child.limits)
	env := slices.Clone(l.env)
	for _, v := range child.env {
		if i := slices.IndexFunc(env, func(o EnvVar) bool { return o.Name == v.Name }); i >= 0 {
			env[i] = v
		} else {
			env = append(env, v)
		}
	}
	l.env = env
	return l
}

// unbuilt lists what the layer asks for and this version can't give.
func (l layer) unbuilt() []Unbuilt {
	out := slices.Clone(l.image)
	for _, u := range []*[]Unbuilt{l.repos, l.supervise} {
		if u != nil {
			out = append(out, *u...)
		}
	}
	return append(out, l.asks()...)
}

// layerOf checks what decoding could not see in one value alone, and converts.
func layerOf(f *file, k *bottleKeys) layer {
	l := layer{env: k.Env, limits: k.Limits}
	if p := k.Provider; p != nil {
		l.provider, l.image = f.provider(p)
	}
	if g := k.Git; g != nil {
		l.git = g.User.identity("bottle")
		if g.Repos != nil {
			l.repos = f.repos(g.Repos)
		}
	}
	if e := k.Egress; e != nil {
		l.routes = new(f.egress(e))
	}
	if k.Supervise != nil {
		l.supervise = new([]Unbuilt)
		if *k.Supervise {
			*l.supervise = []Unbuilt{f.unbuilt("supervise")}
		}
	}
	if k.Runtime != "" {
		l.runtime = &Runtime{string(k.Runtime), f.at["runtime"]}
	}
	if k.DLP != nil {
		l.dlp = f.dlp(k.DLP)
	}
	return l
}

func (f *file) unbuilt(key string) Unbuilt { return Unbuilt{key, f.at[key]} }

func (f *file) provider(p *providerKeys) (*Provider, []Unbuilt) {
	in := place{"agent_provider", "agent_provider"}
	out := &Provider{Template: p.Template, At: f.at[in.key("template").path],
		AuthToken: string(p.AuthToken), AuthTokenAt: f.at[in.key("auth_token").path]}
	if p.Template == "" {
		out.Template = defaultTemplate
	} else {
		f.oneOf(p.Template, in.key("template"))
	}
	for _, a := range p.Command {
		out.Command = append(out.Command, string(a))
	}
	if p.Command != nil && out.Template != "shell" {
		f.fail(in.key("command"), "is only for the shell template, and this one is "+out.Template, "write template: shell, or leave the command out")
	}
	if p.AuthToken != "" && out.Template == "shell" {
		f.fail(in.key("auth_token"), "the shell template has no credential of its own", "give the rule an auth: egress.routes with auth: {scheme, token_ref}")
	}
	out.Dockerfile, out.DockerfileAt = string(p.Dockerfile), f.at[in.key("dockerfile").path]
	out.Base, out.BaseAt = string(p.Base), f.at[in.key("base").path]
	if out.Dockerfile != "" && out.Base != "" {
		f.fail(in.key("base"), "and dockerfile can't both say what the system is made from", "write the base into the Dockerfile's FROM, or leave the dockerfile out")
	}
	var u []Unbuilt
	if p.Forward {
		u = append(u, f.unbuilt(in.key("forward_host_credentials").path))
	}
	return out, u
}

func (f *file) repos(repos map[string]repoKeys) *[]Unbuilt {
	for name := range repos {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" || strings.Trim(name, ".") == "" {
			f.fail(place{"git-gate.repos." + name, ""}, "a repository's name may only hold letters, digits, '.', '_' and '-'", "")
		}
	}
	out := new([]Unbuilt)
	if len(repos) > 0 {
		*out = []Unbuilt{f.unbuilt("git-gate.repos")}
	}
	return out
}
