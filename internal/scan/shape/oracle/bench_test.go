package oracle

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/egress/inspect"
	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/scan/shape"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

const english = "The quick brown fox jumps over the lazy dog while the committee, having met twice, decides that " +
	"nothing which was said before dinner shall be held against anyone present at the table afterwards. "

const conversation = `{"role":"user","content":[{"type":"text","text":"Please look at internal/egress/engine.go and tell me why ` +
	`the test TestKeepAlive fails; the log says \"unexpected EOF\" after the second request."}]},{"role":"assistant","content":` +
	`[{"type":"tool_use","id":"toolu_01A09q90qw90lq917835lq9","name":"Read","input":{"file_path":"/home/me/src/engine.go","limit":200}}]},`

// BenchmarkRatio is our time and gitleaks' for the same texts, in one run: ours for the same work, the
// credential shapes, and whole for all that a warden looks for, ten secrets in every disguise besides.
// Of the standard library each file is one text, as gitleaks would be given it.
func BenchmarkRatio(b *testing.B) {
	var library [][]byte
	err := filepath.WalkDir(filepath.Join(goroot(b), "src", "net"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			var text []byte
			text, err = os.ReadFile(path)
			library = append(library, text)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	raw := make([]byte, 3<<18)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	for _, c := range []struct {
		name  string
		texts [][]byte
	}{
		{"stdlib", library},
		{"base64", [][]byte{[]byte(base64.StdEncoding.EncodeToString(raw))}},
		{"english", [][]byte{[]byte(strings.Repeat(english, 1<<20/len(english)))}},
		{"prompt-200B", [][]byte{[]byte(english + "Yes.")}},
		{"json-10KB", [][]byte{[]byte(strings.Repeat(conversation, 10<<10/len(conversation)+1)[:10<<10])}},
	} {
		size := 0
		for _, text := range c.texts {
			size += len(text)
		}
		run := func(find func([]byte)) func(b *testing.B) {
			return func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					for _, text := range c.texts {
						find(text)
					}
				}
			}
		}
		rules, d := shape.Default(), detector()
		scanner, err := inspect.NewScanner(secrets(), nil)
		if err != nil {
			b.Fatal(err)
		}
		var all []scan.Finding
		var found []shape.Match
		b.Run(c.name+"/whole", run(func(text []byte) { all = scanner.Scan(all[:0], text) }))
		b.Run(c.name+"/ours", run(func(text []byte) { found = rules.Find(found[:0], text) }))
		b.Run(c.name+"/gitleaks", run(func(text []byte) { d.DetectBytes(text) }))
	}
}

// secrets are ten credentials of nobody's.
func secrets() []scan.Secret {
	r := rand.New(rand.NewPCG(3, 4))
	all := make([]scan.Secret, 10)
	for i := range all {
		value := make([]byte, 40)
		for k := range value {
			value[k] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"[r.IntN(62)]
		}
		all[i] = scan.Secret{Name: fmt.Sprintf("secret %d", i), Value: secret.New(string(value))}
	}
	return all
}
