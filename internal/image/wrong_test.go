package image_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/image"
)

func TestAnImageThatCannotBeHad(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		const absent = "127.0.0.1:9/nobody/nothing:1"
		w.write("Dockerfile", "FROM "+absent+"\n")
		for name, s := range map[string]image.Source{
			"base":       {Ref: "claude-bottle:" + w.id, Base: absent, Program: program(t)},
			"prebuilt":   {Ref: absent, Prebuilt: true},
			"dockerfile": {Ref: "claude-bottle:" + w.id, Dockerfile: filepath.Join(w.dir, "Dockerfile")},
		} {
			_, err := w.ensure(t.Context(), s)
			if err == nil || !strings.Contains(err.Error(), absent) || !strings.Contains(hint(err), e.Kind+" pull "+absent) {
				t.Errorf("%s: got %v; hint %q", name, err, hint(err))
			}
		}
	})
}

func TestWhatTheOperatorGotWrong(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		file := filepath.Join(w.dir, "Dockerfile")
		for name, tc := range map[string]struct {
			make       func()
			say, hint  string
			dockerfile string
		}{
			"no Dockerfile":           {func() {}, "no such file", "dockerfile:", filepath.Join(w.dir, "nowhere/Dockerfile")},
			"malformed .dockerignore": {func() { w.write(".dockerignore", "ok\na[\n") }, `line 2: "a["`, "correct that pattern", file},
			"no such instruction":     {func() { w.write("Dockerfile", "FROM "+base(t)+"\nRUNN true\n") }, "RUNN", file, file},
			"too big": {func() {
				w.write("small/file", "x")
				w.write("data/huge", "")
				if err := os.Truncate(filepath.Join(w.dir, "data/huge"), 3<<30); err != nil {
					t.Fatal(err)
				}
			}, "1024 MiB or 200000 files; the most, 3072 MiB, is in " + filepath.Join(w.dir, "data"), ".dockerignore", file},
		} {
			w.dockerfile("RUN true")
			_ = os.Remove(filepath.Join(w.dir, ".dockerignore"))
			_ = os.RemoveAll(filepath.Join(w.dir, "data"))
			tc.make()
			_, err := w.ensure(t.Context(), image.Source{Ref: "claude-bottle:" + w.id, Dockerfile: tc.dockerfile})
			if err == nil || !strings.Contains(err.Error(), tc.say) || !strings.Contains(hint(err), tc.hint) {
				t.Errorf("%s: got %v; hint %q", name, err, hint(err))
			}
		}
		p := program(t)
		other := e
		other.Arch = "s390x"
		_, err := image.Ensure(t.Context(), other, image.Source{Ref: "claude-bottle:" + w.id, Base: base(t), Program: p}, w.options())
		if err == nil || !strings.Contains(err.Error(), "s390x") || hint(err) == "" {
			t.Errorf("another processor: got %v", err)
		}
	})
}
