package preset

import (
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// The registries are read-only: publishing takes other methods than GET and HEAD at all of them.

var npm = Preset{
	Name:    "npm",
	Text:    "Install packages from the npm registry. Publishing stays closed, and so does npm audit, which sends the list of what you use.",
	Example: "npm", Scheme: policy.SchemeBearer,
	rules: func(_ Args, h *hosts) { h.credentialed("registry.npmjs.org", reading()) },
}

// pypi follows https://docs.pypi.org/api: the index and JSON API, and the host of the files.
var pypi = Preset{
	Name:    "pypi",
	Text:    "Install packages from PyPI. Uploading stays closed.",
	Example: "pypi",
	rules: func(_ Args, h *hosts) {
		h.open("pypi.org", reading(under("/simple", "/pypi")...))
		h.open("files.pythonhosted.org", reading())
	},
}

// crates follows https://doc.rust-lang.org/cargo/reference/registry-web-api.html.
var crates = Preset{
	Name:    "crates",
	Text:    "Build with crates from crates.io. Publishing and owning stay closed.",
	Example: "crates",
	rules: func(_ Args, h *hosts) {
		h.open("index.crates.io", reading())
		h.open("static.crates.io", reading())
		h.open("crates.io", reading(under("/api/v1/crates")...))
	},
}

// codeHosts are where Go modules come from that anybody uses. Each serves only what its owner put
// there: asking the proxy for a path under them tells nobody else.
var codeHosts = []string{
	"github.com", "gitlab.com", "bitbucket.org", "golang.org", "google.golang.org", "cloud.google.com/go", "gopkg.in",
	"go.uber.org", "go.opentelemetry.io", "go.etcd.io", "go.mongodb.org", "go.yaml.in", "gonum.org", "k8s.io", "sigs.k8s.io", "modernc.org",
	"honnef.co", "mvdan.cc", "filippo.io", "lukechampine.com", "pgregory.net", "rsc.io", "software.sslmate.com", "tailscale.com",
	"gotest.tools", "gorm.io", "entgo.io", "cel.dev", "cuelang.org", "dario.cat", "charm.land", "codeberg.org", "git.sr.ht",
}

// golang follows https://go.dev/ref/mod#goproxy-protocol and #checksum-database. The proxy fetches a
// module it doesn't know from the domain in its path, query and all: unbounded, a GET would be a message
// to whoever owns that domain.
var golang = Preset{
	Name: "golang",
	Text: "Go modules and their checksums, of the well-known code hosts and of the paths in modules. " +
		"Other domains stay closed: the module proxy asks a domain for what it doesn't know, which is a way out.",
	Example: "golang: {modules: [go.example.org]}",
	Params:  []Param{{Name: "modules", Text: "More module paths, or starts of them.", List: true, Optional: true, Check: modulePath}},
	rules: func(a Args, h *hosts) {
		var proxied, looked []string
		for _, m := range append(codeHosts[:len(codeHosts):len(codeHosts)], a["modules"]...) {
			// A look-up ends in "path@version", so that only the domain is whole elements of it.
			domain, _, _ := strings.Cut(m, "/")
			proxied = append(proxied, "/"+escapeUpper(m), "/sumdb/sum.golang.org/lookup/"+domain)
			looked = append(looked, "/lookup/"+domain)
		}
		h.open("proxy.golang.org", reading(append(under(proxied...), under("/sumdb/sum.golang.org/supported",
			"/sumdb/sum.golang.org/latest", "/sumdb/sum.golang.org/tile")...)...))
		h.open("sum.golang.org", reading(append(under(looked...), under("/latest", "/tile", "/supported")...)...))
	},
}

// escapeUpper writes a module path as the proxy's URLs do: an upper-case letter as '!' and the lower.
func escapeUpper(path string) string {
	out := make([]byte, 0, len(path)+4)
	for i := range len(path) {
		c := path[i]
		if c >= 'A' && c <= 'Z' {
			out = append(out, '!', c+'a'-'A')
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

var debian = Preset{
	Name:    "debian",
	Text:    "Install packages from Debian's mirrors, over HTTP too: apt checks their signatures.",
	Example: "debian",
	rules: func(_ Args, h *hosts) {
		h.open("deb.debian.org", reading()).Plain = true
		h.open("security.debian.org", reading()).Plain = true
	},
}

// dockerHub follows https://docs.docker.com/desktop/setup/allow-list: the registry, its tokens, and the
// two stores that layers are redirected to.
var dockerHub = Preset{
	Name:    "docker-hub",
	Text:    "Pull images from Docker Hub. Pushing stays closed.",
	Example: "docker-hub",
	rules: func(_ Args, h *hosts) {
		h.open("registry-1.docker.io", reading(under("/v2")...))
		h.open("auth.docker.io", getting(exact("/token")...))
		h.open("production.cloudflare.docker.com", reading())
		h.open("docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com", reading())
	},
}
