package preset

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// maxValue bounds one value, in bytes.
const maxValue = 200

// Value says what keeps s from being a parameter's value. Values become parts of hosts, paths and
// patterns, so they are plain words with single slashes between: nothing that widens, climbs or ends.
func Value(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > maxValue:
		return fmt.Errorf("is longer than %d characters", maxValue)
	}
	for elem := range strings.SplitSeq(s, "/") {
		if elem == "" || strings.Trim(elem, ".") == "" {
			return fmt.Errorf("%s has an empty or dotted part between its slashes", quote(s))
		}
	}
	for i := range len(s) {
		if c := s[i]; !letter(c) && (c < '0' || c > '9') && strings.IndexByte("._-/", c) < 0 {
			return fmt.Errorf("%s may only hold letters, digits, '.', '_', '-' and '/'", quote(s))
		}
	}
	return nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func quote(s string) string { return strconv.Quote(inert.Text(s, 40)) }

// ownerAndName accepts "acme/app".
func ownerAndName(s string) error {
	if err := Value(s); err != nil {
		return err
	}
	if strings.Count(s, "/") != 1 || strings.HasSuffix(s, ".git") {
		return fmt.Errorf("%s is not a repository such as acme/app", quote(s))
	}
	return nil
}

// groupAndName accepts "acme/app" and "acme/team/app".
func groupAndName(s string) error {
	if err := Value(s); err != nil {
		return err
	}
	if !strings.Contains(s, "/") || strings.HasSuffix(s, ".git") {
		return fmt.Errorf("%s is not a project such as acme/app", quote(s))
	}
	return nil
}

func number(s string) error {
	if n, err := strconv.ParseUint(s, 10, 63); err != nil || n == 0 || s[0] == '0' {
		return fmt.Errorf("%s is not a project's number", quote(s))
	}
	return nil
}

// hostName accepts one name, no pattern.
func hostName(s string) error {
	h, err := policy.ParseHost(s)
	switch {
	case err != nil:
		return err
	case h.Wildcard():
		return fmt.Errorf("%s is a pattern: name one host", quote(s))
	}
	return nil
}

// modulePath accepts the start of a Go module path, its domain at least.
func modulePath(s string) error {
	if err := Value(s); err != nil {
		return err
	}
	domain, _, _ := strings.Cut(s, "/")
	if !strings.Contains(domain, ".") || strings.ToLower(domain) != domain || hostName(domain) != nil {
		return fmt.Errorf("%s does not begin with a domain such as go.example.org", quote(s))
	}
	return nil
}
