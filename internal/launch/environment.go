package launch

import (
	"cmp"
	"maps"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/plan"
)

// Trust is where the bottle's certificate authority is found inside, and the variables that lead
// programs there which don't read the system's bundle.
const (
	trustBundle = "/etc/ssl/certs/ca-certificates.crt"
	systemPath  = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// loginPath restores for login shells what /etc/profile of many systems resets.
const loginPath = "export PATH=\"" + backend.Programs + "/bin:$PATH\"\n"

// trustAliases are the bundle's names on other systems; programs built there look for them.
var trustAliases = []string{
	trustBundle,
	"/etc/ssl/cert.pem",                   // Alpine, macOS-built tools, OpenSSL's own default
	"/etc/pki/tls/certs/ca-bundle.crt",    // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",              // SUSE
	"/etc/pki/tls/cert.pem",               // Go and curl on RHEL
	"/etc/ssl/certs/claude-bottle-ca.pem", // what a person looking around would understand
}

// trustVariables name the bundle for programs with a list of roots of their own.
var trustVariables = []string{
	"AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "CODEX_CA_CERTIFICATE", "CURL_CA_BUNDLE", "DENO_CERT", "GIT_SSL_CAINFO",
	"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NIX_SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE",
}

// environment is the agent's complete environment. Later sources win: what makes the bottle work
// comes last, so that neither the bottle's own system nor a manifest can break the trust store or
// the proxy by accident.
func environment(p plan.Plan, in Inputs, system, provider []string, placeholders map[string]string, term Term, c canary) []string {
	env := map[string]string{
		"LANG":  "C.UTF-8",
		"SHELL": "/bin/bash",
		"TERM":  term.Type,
	}
	if term.Color != "" {
		env["COLORTERM"] = term.Color
	}
	for _, kv := range slices.Concat(system, provider) {
		name, value := cut(kv)
		env[name] = value
	}
	path := cmp.Or(env["PATH"], systemPath)
	maps.Copy(env, c.env())
	for _, e := range p.Env {
		if e.Source == plan.EnvLiteral {
			env[e.Name] = e.Value
		} else {
			env[e.Name] = in.Env[e.Name]
		}
	}
	maps.Copy(env, placeholders)
	maps.Copy(env, map[string]string{
		"HOME":                backend.Home,
		"USER":                backend.AgentUser,
		"LOGNAME":             backend.AgentUser,
		"PATH":                backend.Programs + "/bin:" + path,
		"CLAUDE_BOTTLE":       "1",
		"CLAUDE_BOTTLE_ID":    p.ID.String(),
		"NO_PROXY":            "localhost,127.0.0.1,::1",
		"no_proxy":            "localhost,127.0.0.1,::1",
		"GIT_TERMINAL_PROMPT": "0", // nobody is there to answer: fail at once, with words
	})
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		env[name] = "http://" + backend.ProxyAddr
	}
	for _, name := range trustVariables {
		env[name] = trustBundle
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

func cut(kv string) (name, value string) {
	for i := range len(kv) {
		if kv[i] == '=' {
			return kv[:i], kv[i+1:]
		}
	}
	return kv, ""
}
