package manifest

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// EnvKind says where the value of an environment entry comes from.
type EnvKind uint8

// The kinds of entries, by how they are written.
const (
	EnvLiteral EnvKind = iota // anything else
	EnvHost                   // "${HOST_VAR}", the whole text
	EnvPrompt                 // "?" or "?question"
)

// EnvVar is one variable of a bottle.
type EnvVar struct {
	Name string
	Kind EnvKind
	// Value is the text itself, the host's variable, or the question to ask (which may be empty).
	Value string
	At    Pos
}

// envKeys is the env mapping in its written order.
type envKeys []EnvVar

// maxEnv bounds one literal value.
const maxEnv = 32 << 10

func (e *envKeys) decodeNode(d *decoder, n *yaml.Node, at place) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, at, "a mapping of names to values")
		return
	}
	d.pairs(n, at, func(k, v *yaml.Node) {
		p := at.entry(k.Value)
		if why := envNameTrouble(k.Value); why != "" {
			d.fail(k, at, why, "")
			return
		}
		switch {
		case v.Kind == yaml.AliasNode || v.Anchor != "":
			d.fail(v, p, "anchors and aliases are not accepted", "write the value out")
			return
		case isNull(v):
			d.fail(v, p, "has no value", `write "" for an empty one, or "?" to be asked at launch`)
			return
		case v.Kind != yaml.ScalarNode || v.ShortTag() == "!!binary":
			d.wrong(v, p, "text")
			return
		}
		// A number or a boolean counts as it is written: what the author sees is what a program gets.
		one, msg, hint := parseEnv(v.Value)
		if msg != "" {
			d.fail(v, p, msg, hint)
			return
		}
		one.Name, one.At = k.Value, d.pos(k)
		*e = append(*e, one)
	})
}

// parseEnv reads one value; msg tells what is wrong with it.
func parseEnv(s string) (v EnvVar, msg, hint string) {
	switch {
	case len(s) > maxEnv:
		return v, "is longer than " + strconv.Itoa(maxEnv) + " bytes", "put it in a file of the workspace"
	case strings.ContainsAny(s, "\n\r\x00"):
		return v, "holds a line break", "a value is one line; put longer text in a file of the workspace"
	case strings.HasPrefix(s, "?"):
		if q := strings.TrimSpace(s[1:]); printable(q) {
			return EnvVar{Kind: EnvPrompt, Value: q}, "", ""
		}
		return v, "the question holds an unprintable character", ""
	case strings.HasPrefix(s, "${") && strings.HasSuffix(s, "}") && isVarName(s[2:len(s)-1]):
		return EnvVar{Kind: EnvHost, Value: s[2 : len(s)-1]}, "", ""
	case strings.Contains(s, "${"):
		return v, `"${" inside other text is not expanded`,
			`"${HOST_VAR}" must be the whole value and a valid name; mixed text has to be put together inside the bottle`
	}
	return EnvVar{Kind: EnvLiteral, Value: s}, "", ""
}

// envNameTrouble says what is wrong with a variable's name, "" when nothing is.
func envNameTrouble(name string) string {
	if !isVarName(name) {
		return strconv.Quote(clip(name)) + " is not the name of an environment variable (letters, digits and _)"
	}
	switch strings.ToUpper(name) {
	case "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY":
		return name + " is set by the bottle: its proxy is the only way out, and egress.routes say where it leads"
	case "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CODEX_CA_CERTIFICATE",
		"GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "PIP_CERT", "CARGO_HTTP_CAINFO", "DENO_CERT", "NIX_SSL_CERT_FILE":
		return name + " is set by the bottle: programs in it must trust the bottle's own authority"
	case "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TERM", "COLORTERM", "HOSTNAME", "TMPDIR":
		return name + " is set by the bottle"
	}
	if strings.HasPrefix(strings.ToUpper(name), "CLAUDE_BOTTLE_") {
		return "names beginning with CLAUDE_BOTTLE_ are the bottle's own"
	}
	return ""
}
