package manifest_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden is the name of the archive member that holds what is expected.
const golden = "errors"

// TestMistakesAreToldWithTheirPlace loads each archive of testdata/errors as a home folder and
// compares every mistake found, place and hint included.
func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			input := &txtar.Archive{Comment: a.Comment}
			for _, f := range a.Files {
				if f.Name == golden {
					want = string(f.Data)
				} else {
					input.Files = append(input.Files, f)
				}
			}
			var got strings.Builder
			for _, e := range manifest.Load(tree(input), "", nil, "").Errors() {
				got.WriteString(e.Error() + "\n")
			}
			if *update {
				input.Files = append(input.Files, txtar.File{Name: golden, Data: []byte(got.String())})
				if err := os.WriteFile(name, txtar.Format(input), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(want, got.String()); d != "" {
				t.Errorf("(-want +got; -update rewrites)\n%s", d)
			}
		})
	}
}

// tree is an archive as a file system.
func tree(a *txtar.Archive) fs.FS {
	m := fstest.MapFS{}
	for _, f := range a.Files {
		m[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o600}
	}
	return m
}

// home makes a tree of the text of an archive.
func home(archive string) fs.FS { return tree(txtar.Parse([]byte(archive))) }
