package shape

import (
	"strings"
	"testing"
)

// hostile are texts made to keep the rules busy: keywords without end, matches that nearly are.
var hostile = map[string]string{
	"generic names":     "key=key=token=secret_api_key: access.auth=",
	"generic values":    "api_key=aB3dE5gH7jK9mN1pQ3;",
	"generic unclosed":  "key='aB3dE5gH7jK9mN1pQ3sT5vW7",
	"curl":              "curl ",
	"curl lines":        "curl -H \"x\n",
	"curl nearly":       "curl -u ab:",
	"jwt":               "eyJhbGciOiJIUzI1NiIsInR5.eyJhbGciOiJIUzI1NiIsInR5/",
	"private key":       "-----BEGIN PRIVATE KEY-----",
	"private key begun": "-----BEGIN RSA PRIVATE KEY-----\\nMIIEow ",
	"putty":             "PuTTY-User-Key-File-3: x\n",
	"github":            "ghp_ghp_gho_ghs_",
	"sourcegraph":       "sgp_ 0123456789abcdef0123456789abcdef0123456 ",
	"facebook":          "facebook 1234567890123456|abc ",
	"yandex":            "yandex=t1.aaaaaaaaaaaaaaaaaaaaa",
	"aws":               "AKIAABCDEFGHIJKLMNOP ",
	"linkedin":          "linkedin_",
	"twitter":           "twitter='twitter",
	"eyey":              "eyeyeyeyey.",
	"word chars":        "s.a",
}

// TestHostileIsLinear counts the bytes that automata read, rule by rule.
func TestHostileIsLinear(t *testing.T) {
	t.Parallel()
	rules := Default()
	for name, piece := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := []byte(strings.Repeat(piece, 1<<16/len(piece)))
			s := newSearch(rules)
			s.run(text)
			for id, p := range s.by {
				if limit := patience*len(text) + 2*MaxWindow; p.work > limit {
					t.Errorf("%s read %d bytes of %d, more than %d", rules.rules[id].id, p.work, len(text), limit)
				}
			}
		})
	}
}

func BenchmarkHostile(b *testing.B) {
	rules := Default()
	for name, piece := range hostile {
		text := []byte(strings.Repeat(piece, 1<<18/len(piece)))
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				rules.Find(nil, text)
			}
		})
	}
}
