package image_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/image"
)

// program is an agent program of two files.
func program(t *testing.T) *image.Program {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{"bin/agent": 0o700, "package.json": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("I am "+name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return &image.Program{Name: "agent", Version: "1.2.3", Dir: dir, Target: "/opt/claude-bottle/agent"}
}

func TestASecondLaunchBuildsNothingAndAChangeBuildsAgain(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		w.many(500)
		s := w.dockerfile("COPY . /src", "ENV COLOUR=green", "USER 4321")
		s.Program = program(t)
		first := w.must(s)
		if !first.Built || first.Ref != s.Ref || first.User != "4321" || !strings.Contains(strings.Join(first.Env, " "), "COLOUR=green") {
			t.Errorf("built %+v", first)
		}
		for name, want := range map[string]string{
			"/opt/claude-bottle/agent/bin/agent":    "I am bin/agent",
			"/opt/claude-bottle/agent/package.json": "I am package.json",
			"/src/files/3/3.txt":                    "file 3 of " + w.id + "\n",
		} {
			if got, _ := w.read(first, name); got != want {
				t.Errorf("%s holds %q, want %q", name, got, want)
			}
		}
		if !w.shown("built " + s.Ref + " in ") {
			t.Errorf("no word of the end in %q", w.lines)
		}

		time.Sleep(1100 * time.Millisecond) // until the files are old enough for their stamps to count
		w.must(s)                           // reads them once more
		best := time.Hour                   // of many: how long the others take is up to what else this machine does
		for end := time.Now().Add(30 * time.Second); best > 100*time.Millisecond && time.Now().Before(end); {
			began := time.Now()
			again := w.must(s)
			best = min(best, time.Since(began))
			if again.Built || again.ID != first.ID {
				t.Fatalf("the second launch got %+v", again)
			}
		}
		t.Logf("a hit with a context of 500 files takes %v", best)
		if best > 100*time.Millisecond {
			t.Errorf("a hit takes %v, want less than 100ms", best)
		}
		if !w.shown("image is up to date") {
			t.Errorf("no word of the hit in %q", w.lines)
		}

		// As many bytes, and the time of before: only what the kernel notes itself tells.
		changed := filepath.Join(w.dir, "files/3/3.txt")
		info, err := os.Stat(changed)
		if err != nil {
			t.Fatal(err)
		}
		w.write("files/3/3.txt", "FILE 3 of "+w.id+"\n")
		if err := os.Chtimes(changed, time.Time{}, info.ModTime()); err != nil {
			t.Fatal(err)
		}
		second := w.must(s)
		if got, _ := w.read(second, "/src/files/3/3.txt"); !second.Built || got != "FILE 3 of "+w.id+"\n" {
			t.Errorf("after a change: %+v with %q", second, got)
		}
		if ref, err := e.API.ImageInspect(t.Context(), s.Ref); err != nil || ref.ID != second.ID {
			t.Errorf("%s is %s, want %s (%v)", s.Ref, ref.ID, second.ID, err)
		}
		// Back again is a hit, and the name follows.
		w.write("files/3/3.txt", "file 3 of "+w.id+"\n")
		if back := w.must(s); back.Built || back.ID != first.ID {
			t.Errorf("back to the first content: %+v", back)
		}
		if ref, err := e.API.ImageInspect(t.Context(), s.Ref); err != nil || ref.ID != first.ID {
			t.Errorf("%s is %s, want %s (%v)", s.Ref, ref.ID, first.ID, err)
		}
		s.Program.Version = "1.2.4"
		if next := w.must(s); !next.Built {
			t.Errorf("another version of the program got %+v", next)
		}
	})
}

func TestTheProgramIsLaidOverABaseWithoutADockerfile(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		file := filepath.Join(t.TempDir(), "2.0.1") // a lone file, as stand-alone installers leave it
		if err := os.WriteFile(file, []byte(w.id), 0o700); err != nil {
			t.Fatal(err)
		}
		p := &image.Program{Name: "agent", Version: "2.0.1", Dir: file, Target: "/opt/claude-bottle/agent/agent"}
		img := w.must(image.Source{Ref: "claude-bottle:" + w.id, Base: base(t), Program: p})
		if got, _ := w.read(img, p.Target); got != w.id {
			t.Errorf("%s holds %q, want %q", p.Target, got, w.id)
		}
		plain := w.must(image.Source{Ref: "claude-bottle:" + w.id, Base: base(t)})
		if plain.Built || plain.Ref != base(t) {
			t.Errorf("without a program: %+v", plain)
		}
	})
}

func TestLaunchesAtOnceBuildOnce(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		s := w.dockerfile("RUN echo at work; sleep 1")
		var wg sync.WaitGroup
		var mu sync.Mutex
		built, ids := 0, map[string]bool{}
		for range 3 {
			wg.Go(func() {
				img, err := w.ensure(t.Context(), s)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				ids[img.ID] = true
				if img.Built {
					built++
				}
			})
		}
		wg.Wait()
		if built != 1 || len(ids) != 1 {
			t.Errorf("built %d times, %d images", built, len(ids))
		}
		if !w.shown("waiting for another launch that is building " + s.Ref) {
			t.Errorf("nobody said that it waits: %q", w.lines)
		}
		if locks, err := filepath.Glob(filepath.Join(w.locks, "*.lock")); err != nil || len(locks) != 0 {
			t.Errorf("left behind: %v %v", locks, err)
		}
	})
}

func TestTheContextIsWhatDockerignoreLeavesAndNothingOutside(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("outside"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.write("keep.txt", "kept")
		w.write("drop.log", "dropped")
		w.write("deep/drop.log", "dropped")
		w.write("vendor/a/x", "dropped")
		w.write("vendor/b/x", "kept")
		w.write(".dockerignore", "# comment\n**/*.log\nvendor\n!vendor/b\nDockerfile\n")
		for name, target := range map[string]string{"link": secret, "folder": filepath.Dir(secret), "inside": "keep.txt"} {
			if err := os.Symlink(target, filepath.Join(w.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		img := w.must(w.dockerfile("COPY . /src/"))
		for name, want := range map[string]string{
			"keep.txt": "kept", "vendor/b/x": "kept", "inside": "-> keep.txt", "link": "-> " + secret,
		} {
			if got, _ := w.read(img, "/src/"+name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		for _, name := range []string{"drop.log", "deep/drop.log", "vendor/a/x", "folder/secret"} {
			if got, ok := w.read(img, "/src/"+name); ok {
				t.Errorf("%s is in the image: %q", name, got)
			}
		}
		w.write("drop.log", "changed")
		if again := w.must(w.dockerfile("COPY . /src/")); again.Built {
			t.Error("a change in an ignored file built again")
		}
	})
}

func TestPrebuiltImagesAreUsedAsTheyAre(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		img := w.must(image.Source{Ref: base(t), Prebuilt: true, Program: program(t), Dockerfile: "/nowhere"})
		there, err := e.API.ImageInspect(t.Context(), base(t))
		if err != nil || img.Built || img.ID != there.ID || img.Ref != base(t) {
			t.Errorf("got %+v (%v)", img, err)
		}
	})
}
