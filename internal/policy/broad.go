package policy

import (
	"net/netip"
	"regexp/syntax"
	"slices"
	"strings"
)

// OverBroad returns one sentence on why r allows more than its author may mean, for the preflight
// to mark; empty when nothing stands out. It is a hint, not a judgement: the rule still holds.
func OverBroad(r Route) string {
	if s := broadHost(r.Host); s != "" {
		return s
	}
	for _, n := range r.Networks {
		if n.Bits() < 8 || n == netip.MustParsePrefix("10.0.0.0/8") {
			return "network " + n.String() + " is a whole address space: name the hosts or smaller networks"
		}
	}
	for _, m := range r.Matches {
		for _, p := range m.Paths {
			if p.Type == PathRegex && anything(p.Value) {
				return "the regex " + quote(p.Value) + " matches every path"
			}
		}
	}
	if kind := takesUploads(r.Host); kind != "" && r.Auth == nil && writable(r) {
		return r.Host.String() + " is " + kind + ": without matches on method and path, data can be sent to anybody's account there"
	}
	return ""
}

func broadHost(h Host) string {
	if !h.wild {
		return ""
	}
	if !strings.Contains(h.name, ".") {
		return h.String() + " is every name of a top-level domain"
	}
	if sharedSuffix(h.name) {
		return "anybody can have a name under " + h.String() + ": name the hosts you mean"
	}
	return ""
}

// sharedSuffix reports whether strangers can get names below suffix: registries that sell the
// third label, and services that hand out subdomains. A hint needs the common ones, not the whole
// public suffix list.
func sharedSuffix(suffix string) bool {
	first, rest, _ := strings.Cut(suffix, ".")
	if len(rest) == 2 && slices.Contains([]string{"co", "com", "net", "org", "gov", "ac", "edu", "or", "ne"}, first) {
		return true
	}
	return slices.Contains([]string{
		"amazonaws.com", "s3.amazonaws.com", "cloudfront.net", "elasticbeanstalk.com",
		"azurewebsites.net", "blob.core.windows.net", "windows.net", "azureedge.net", "cloudapp.net",
		"appspot.com", "googleapis.com", "run.app", "web.app", "firebaseapp.com", "cloudfunctions.net",
		"github.io", "githubusercontent.com", "gitlab.io", "pages.dev", "workers.dev", "r2.dev",
		"vercel.app", "netlify.app", "herokuapp.com", "fly.dev", "onrender.com", "deno.dev",
		"ngrok.io", "ngrok.app", "ngrok-free.app", "trycloudflare.com", "loca.lt", "duckdns.org",
	}, suffix)
}

// takesUploads names the kind of host that stores what strangers send.
func takesUploads(h Host) string {
	for suffix, kind := range map[string]string{
		"github.com":            "a code host",
		"gitlab.com":            "a code host",
		"bitbucket.org":         "a code host",
		"githubusercontent.com": "a code host",
		"amazonaws.com":         "a cloud's storage and APIs",
		"googleapis.com":        "a cloud's storage and APIs",
		"core.windows.net":      "a cloud's storage and APIs",
		"upload.pypi.org":       "a package registry",
		"crates.io":             "a package registry",
		"hooks.slack.com":       "a chat service",
		"slack.com":             "a chat service",
		"discord.com":           "a chat service",
		"api.telegram.org":      "a chat service",
		"sentry.io":             "a telemetry service",
		"statsig.com":           "a telemetry service",
		"pastebin.com":          "a paste service",
		"webhook.site":          "a request collector",
		"api.anthropic.com":     "a model API with file storage",
		"api.openai.com":        "a model API with file storage",
		"huggingface.co":        "a model host",
		"transfer.sh":           "a file drop",
		"dropboxapi.com":        "a file store",
		"api.cloudflare.com":    "a cloud's storage and APIs",
		"hub.docker.com":        "a package registry",
		"registry-1.docker.io":  "a package registry",
	} {
		if h.name == suffix || strings.HasSuffix(h.name, "."+suffix) || h.wild && strings.HasSuffix(suffix, "."+h.name) {
			return kind
		}
	}
	return ""
}

// writable reports whether r lets a request write without saying where.
func writable(r Route) bool {
	if len(r.Matches) == 0 {
		return true
	}
	return slices.ContainsFunc(r.Matches, func(m Match) bool {
		writes := len(m.Methods) == 0 || slices.ContainsFunc(m.Methods, func(s string) bool {
			s = strings.ToUpper(s)
			return s != "GET" && s != "HEAD" && s != "OPTIONS"
		})
		anywhere := len(m.Paths) == 0 || slices.ContainsFunc(m.Paths, func(p PathMatch) bool {
			return p.Type == PathPrefix && p.Value == "/"
		})
		return writes && anywhere
	})
}

// anything reports whether a path regex is ".*" or its like. "/.*" is what every path is.
func anything(expr string) bool {
	re, err := syntax.Parse(strings.TrimSuffix(strings.TrimPrefix(expr, "^"), "$"), syntax.Perl)
	if err != nil {
		return false
	}
	s := strings.TrimPrefix(re.Simplify().String(), "(?s)")
	for _, all := range []string{".*", ".+", "/.*", `(?-s:.*)`, `(?-s:.+)`, `(?-s:/.*)`, `(?-s:/.+)`, "(?s:.*)", "(?s:.+)"} {
		if s == all {
			return true
		}
	}
	return false
}
