package provider

import (
	"fmt"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// Recognise tells which of t's credentials v is by its shape, so that "login" needs no question
// and a mispasted value is refused before it is stored. The error never quotes the value.
func Recognise(t Template, v secret.Value) (Credential, error) {
	s := v.Reveal()
	creds := t.Credentials()
	switch {
	case len(creds) == 0:
		return Credential{}, fmt.Errorf("the %s provider takes no credential", t.Name())
	case s == "":
		return Credential{}, fmt.Errorf("the %s credential is empty", t.Name())
	case len(s) > maxToken:
		return Credential{}, fmt.Errorf("the %s credential is longer than %d bytes: paste the token alone", t.Name(), maxToken)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return Credential{}, fmt.Errorf("the %s credential holds a space, line break or other unprintable character: paste the token alone", t.Name())
		}
	}
	if strings.Contains(s, "bottle-placeholder") {
		return Credential{}, fmt.Errorf("this is a bottle's placeholder, not a %s credential: it is worthless outside its bottle", t.Name())
	}
	for _, c := range creds {
		if shape := shapeOf(c); strings.HasPrefix(s, shape.prefix) && len(s) >= minToken && !shape.excludes(s) {
			return c, nil
		}
	}
	return Credential{}, fmt.Errorf("this doesn't look like a %s credential: expected %s", t.Name(), expected(creds))
}

// Bounds of a token: generous, they only catch a pasted file or a cut-off line.
const (
	minToken = 20
	maxToken = 8 << 10
)

// shape is how a credential's real values begin, and how its neighbours' do.
type shape struct {
	prefix string
	not    string
	words  string
}

func (s shape) excludes(v string) bool { return s.not != "" && strings.HasPrefix(v, s.not) }

func shapeOf(c Credential) shape {
	switch c.Env {
	case claudeOAuth:
		return shape{prefix: "sk-ant-oat", words: `a token from "claude setup-token" (sk-ant-oat...)`}
	case claudeKey:
		return shape{prefix: "sk-ant-api", words: "an Anthropic API key (sk-ant-api...)"}
	default:
		return shape{prefix: "sk-", not: "sk-ant-", words: "an OpenAI API key (sk-...)"}
	}
}

func expected(creds []Credential) string {
	words := make([]string, len(creds))
	for i, c := range creds {
		words[i] = shapeOf(c).words
	}
	return strings.Join(words, " or ")
}
