package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// The types below are the values of keys. Each refuses what it can't mean, so that nothing after
// decoding checks again.

// varName is the name of an environment variable.
type varName string

func (v *varName) UnmarshalText(b []byte) error {
	if !isVarName(string(b)) {
		if s := strings.TrimSuffix(strings.TrimPrefix(string(b), "${"), "}"); isVarName(s) {
			return fmt.Errorf("is a variable's name alone, without ${}: %s", s)
		}
		// Not quoted: a credential in the place of its variable's name is what this is, mostly.
		return errors.New("is not the name of a variable (a credential itself doesn't belong in a manifest)")
	}
	*v = varName(b)
	return nil
}

func isVarName(s string) bool {
	if s == "" || len(s) > 100 || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// hostName is a route's host.
type hostName struct{ policy.Host }

func (h *hostName) UnmarshalText(b []byte) (err error) {
	if bytes.ContainsAny(b, "/@") {
		return errors.New("is a name alone, without scheme, user and path; ports are a key of their own")
	}
	h.Host, err = policy.ParseHost(string(b))
	return err
}

// port is a TCP port, written as a bare number.
type port uint16

func (p *port) decodeNode(d *decoder, n *yaml.Node, at place) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		d.wrong(n, at, "a port number")
		return
	}
	v, err := strconv.ParseUint(n.Value, 10, 16)
	if err != nil || v == 0 {
		d.fail(n, at, clip(n.Value)+" is not a port", "ports are 1 to 65535")
		return
	}
	*p = port(v)
}

// hostPort is a host and one TCP port of it: "db.internal:5432", "[2001:db8::1]:5432".
type hostPort struct {
	host policy.Host
	port uint16
}

func (h *hostPort) UnmarshalText(b []byte) error {
	name, digits, err := net.SplitHostPort(string(b))
	if err != nil {
		return fmt.Errorf("%s is not a host and a port such as db.internal:5432", shown(string(b)))
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%s is not a port; ports are 1 to 65535", shown(digits))
	}
	h.port = uint16(n)
	h.host, err = policy.ParseHost(name)
	return err
}

// regex is a regular expression in Go's syntax, compared with the whole of a value.
type regex string

func (p *regex) UnmarshalText(b []byte) error {
	if _, err := regexp.Compile(string(b)); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	*p = regex(b)
	return nil
}

// token is an RFC 9110 token: a header name, or a method.
type token string

func (t *token) UnmarshalText(b []byte) error {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return fmt.Errorf("%s may not hold %q", shown(string(b)), rune(c))
		}
	}
	*t = token(b)
	return nil
}

// method is an HTTP method, kept in upper case.
type method string

func (m *method) UnmarshalText(b []byte) error {
	var t token
	if err := t.UnmarshalText(b); err != nil {
		return err
	}
	if strings.Contains(string(t), "*") {
		return errors.New("a method is one word; leave methods out to accept all of them")
	}
	*m = method(strings.ToUpper(string(t)))
	return nil
}

// network is an address range in CIDR notation.
type network struct{ netip.Prefix }

func (w *network) UnmarshalText(b []byte) error {
	p, err := netip.ParsePrefix(string(b))
	switch {
	case err == nil && p.Masked() == p:
		w.Prefix = p
		return nil
	case err == nil:
		return fmt.Errorf("%s has host bits set; write %s", p, p.Masked())
	}
	if a, err := netip.ParseAddr(string(b)); err == nil {
		return fmt.Errorf("%s is one address; write %s", a, netip.PrefixFrom(a, a.BitLen()))
	}
	return fmt.Errorf("%s is not an address range such as 10.1.0.0/16", shown(string(b)))
}

// hostPath is the path of a file of the host.
type hostPath string

func (h *hostPath) UnmarshalText(b []byte) error {
	if s := string(b); !path.IsAbs(s) && !strings.HasPrefix(s, "~/") || strings.ContainsRune(s, 0) {
		return errors.New("must be an absolute path, or begin with ~/")
	}
	*h = hostPath(b)
	return nil
}

// imageRef is the name of a container image.
type imageRef string

func (r *imageRef) UnmarshalText(b []byte) error {
	if !plainName(string(b), 255, "._-/:@") {
		return fmt.Errorf("%s is not an image's name such as debian:12-slim", shown(string(b)))
	}
	*r = imageRef(b)
	return nil
}

// runtimeName is the name a container runtime is registered under.
type runtimeName string

func (r *runtimeName) UnmarshalText(b []byte) error {
	if !plainName(string(b), 100, "._-/") {
		return fmt.Errorf("%s is not a runtime's name such as runsc", shown(string(b)))
	}
	*r = runtimeName(b)
	return nil
}

// plainName reports whether s begins with a letter or digit and holds nothing but those and what is in
// also, most bytes at most.
func plainName(s string, most int, also string) bool {
	plain := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }
	if s == "" || len(s) > most || !plain(s[0]) {
		return false
	}
	for i := range len(s) {
		if !plain(s[i]) && strings.IndexByte(also, s[i]) < 0 {
			return false
		}
	}
	return true
}

// upstreamURL is scheme and authority, nothing else.
type upstreamURL string

func (u *upstreamURL) UnmarshalText(b []byte) error {
	p, err := url.Parse(string(b))
	if err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Hostname() == "" {
		// The text is not quoted: it may carry a password.
		return errors.New("is not an address such as https://gateway.example:8443")
	}
	if p.User != nil {
		return errors.New("a user or password in the address is not accepted; use auth with a token_ref")
	}
	if p.Path != "" && p.Path != "/" || p.RawQuery != "" || p.Fragment != "" || p.ForceQuery {
		return fmt.Errorf("only scheme, host and port are accepted: %s://%s", p.Scheme, p.Host)
	}
	*u = upstreamURL(p.Scheme + "://" + strings.ToLower(p.Host))
	return nil
}

// repoURL is where a git repository is.
type repoURL string

func (r *repoURL) UnmarshalText(b []byte) error {
	p, err := url.Parse(string(b))
	if err != nil || p.Scheme != "ssh" && p.Scheme != "https" || p.Hostname() == "" || len(p.Path) < 2 {
		return errors.New("is not an address such as ssh://git@example.org/team/project.git")
	}
	if _, has := p.User.Password(); has {
		return errors.New("a password in the address is not accepted")
	}
	*r = repoURL(b)
	return nil
}

// identity is one field of a git identity.
type identity string

func (i *identity) UnmarshalText(b []byte) error {
	s := string(b)
	switch {
	case len(s) > 200:
		return errors.New("is longer than 200 characters")
	case strings.ContainsAny(s, "<>"):
		return errors.New("may not hold < or >: git writes the address between them")
	case !printable(s):
		return errors.New("holds an unprintable character")
	}
	*i = identity(s)
	return nil
}

// arg is one argument of a command.
type arg string

func (a *arg) UnmarshalText(b []byte) error {
	if strings.IndexByte(string(b), 0) >= 0 {
		return errors.New("holds a NUL character")
	}
	*a = arg(b)
	return nil
}

// printable reports whether s is one line of visible text.
func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
