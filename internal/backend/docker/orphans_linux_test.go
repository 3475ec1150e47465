package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// What the process that is killed is told, and says.
const (
	phaseVariable = "CLAUDE_BOTTLE_TEST_PHASE"
	specVariable  = "CLAUDE_BOTTLE_TEST_SPEC" // JSON
	ready         = "ready to be killed"
)

// Phases of a bottle's life that its holder is killed in.
const (
	created = "after its container is made"
	begun   = "after its container is started"
	running = "while it runs"
)

// TestHolder is the process that is killed, when it is started as one.
func TestHolder(t *testing.T) {
	phase := os.Getenv(phaseVariable)
	if phase == "" {
		return // with all other tests
	}
	var spec backend.Spec
	if err := json.Unmarshal([]byte(os.Getenv(specVariable)), &spec); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == os.Getenv(kindVariable) })
	b := kinds[i].open("").(*Backend)
	if err := reach(t.Context(), b, spec, phase); err != nil {
		t.Fatal(err)
	}
	fmt.Println(ready)
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or who started it is
}

// reach brings a bottle to a phase, as Start does.
func reach(ctx context.Context, b *Backend, spec backend.Spec, phase string) (err error) {
	if phase == running {
		bottle, err := b.Start(ctx, spec, nil)
		if err != nil {
			return err
		}
		return execute(ctx, bottle, "echo and another one >> /workspace/thesis; mkdir -m 555 /workspace/cache")
	}
	s := &start{backend: b, spec: spec, words: &spawn.Words{}, say: func(string) {}}
	if s.engine, err = b.connect(ctx); err != nil {
		return err
	}
	s.info = s.engine.Info()
	steps := []func(context.Context) error{s.chooseRuntime, s.makeImage, s.hold, s.build, s.attach, s.run}
	if phase == created {
		steps = steps[:4]
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// orphan makes a bottle whose holder was killed in a phase of its life.
func (k kind) orphan(t *testing.T, s backend.Spec, phase string) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	holder := exec.Command(exe, "-test.run=^TestHolder$", "-test.v")
	holder.Env = append(os.Environ(), phaseVariable+"="+phase, specVariable+"="+string(text), kindVariable+"="+k.name, "TMPDIR="+t.TempDir())
	holder.Stderr = os.Stderr
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := holder.StdoutPipe()
	if err == nil {
		err = holder.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); !slices.Contains(said, ready) && lines.Scan(); {
		said = append(said, lines.Text())
	}
	if err := holder.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = holder.Wait() // killed
	if !slices.Contains(said, ready) {
		t.Fatalf("the holder ended: %s", strings.Join(said, "\n"))
	}
}

// ended waits until nothing runs in a bottle whose holder was killed.
func (k kind) ended(t *testing.T, s backend.Spec) []backend.Leftover {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		all, err := k.open("").Found(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ours := slices.DeleteFunc(all, func(l backend.Leftover) bool { return l.ID != s.ID })
		if !slices.ContainsFunc(ours, func(l backend.Leftover) bool { return l.Running }) {
			return ours
		}
		if time.Now().After(end) {
			t.Fatalf("it outlived its holder: %+v", ours)
		}
	}
}

func TestWhatAKilledHolderLeavesIsFoundAndGoes(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, phase := range []string{created, begun, running} {
			t.Run(k.name+" "+phase, func(t *testing.T) {
				k.needed(t)
				t.Parallel()
				s := k.aSpecOn(t)
				k.orphan(t, s, phase)
				found := k.ended(t, s)
				if !slices.ContainsFunc(found, func(l backend.Leftover) bool { return l.What == "container "+containerName(s.ID) }) {
					t.Errorf("found is %+v", found)
				}
				for _, l := range found {
					if l.Idle { // it may be a bottle that somebody is just making
						t.Errorf("%s is idle a moment after it was made", l.What)
					}
				}
				if _, err := k.open("").Start(t.Context(), s, nil); !errors.Is(err, backend.ErrExists) {
					t.Errorf("its id is free: %v", err)
				}
				for range 2 { // removing nothing is no error
					if err := k.open("").Remove(t.Context(), s.ID); err != nil {
						t.Error(err)
					}
				}
				if left := k.remains(t, s); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
				want := "years of work"
				if phase == running {
					want += "and another one\n"
					if st, err := os.Stat(filepath.Join(workOf(s), "cache")); err != nil || st.Mode().Perm() != 0o555 {
						t.Errorf("the folder that the agent made: %v, %v", st, err)
					}
				}
				holds(t, filepath.Join(workOf(s), "thesis"), want)
				if entries, err := os.ReadDir(filepath.Dir(workOf(s))); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".coming") }) {
					t.Errorf("beside the workspace there is %v, %v", entries, err)
				}
			})
		}
	}
}

// Whoever removes the container behind our back leaves the operator's folders mounted in ours.
func TestABottleWhoseContainerWasRemovedByOthersStartsAgain(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		if k.carries() {
			continue // the engine forgets the volumes with it
		}
		t.Run(k.name, func(t *testing.T) {
			k.needed(t)
			t.Parallel()
			s := k.aSpecOn(t)
			k.orphan(t, s, running)
			k.ended(t, s)
			if _, err := k.api(t).ContainerRemove(t.Context(), containerName(s.ID), client.ContainerRemoveOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			sh(t, k.up(t, s), "grep -q another /workspace/thesis")
			holds(t, filepath.Join(workOf(s), "thesis"), "years of workand another one\n")
		})
	}
}

// A bottle whose folder was removed has nobody who waits for its work.
func TestRemainsOfABottleWithoutAFolderGo(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		if !k.carries() {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			k.needed(t)
			t.Parallel()
			s := k.aSpecOn(t)
			k.orphan(t, s, running)
			k.ended(t, s)
			for _, m := range s.Mounts {
				if err := os.RemoveAll(m.Source); err != nil {
					t.Fatal(err)
				}
			}
			if err := k.open("").Remove(t.Context(), s.ID); err != nil {
				t.Error(err)
			}
			if left := k.remains(t, s); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if _, err := os.Lstat(workOf(s)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the workspace is there again: %v", err)
			}
		})
	}
}

// Folders that are lent and that no container is seen of may be those of a bottle that is being made: whoever
// cleans up for another home leaves them alone until they are old.
func TestWhatIsJustLentIsLeftAlone(t *testing.T) {
	t.Parallel()
	k := kinds[0]
	k.needed(t)
	if os.Geteuid() != 0 {
		t.Skip("folders of an ordinary user are lent to nobody")
	}
	s := aSpec(t)
	s.System = k.system()
	if s.Dir = filepath.Join(s.Dir, s.ID.String()); os.Mkdir(s.Dir, 0o700) != nil { // whose mounts they are is told by it
		t.Fatal(s.Dir)
	}
	k.orphan(t, s, created)
	// As who lists containers first sees it when the bottle comes into being right then.
	if _, err := k.api(t).ContainerRemove(t.Context(), containerName(s.ID), client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	ours := func() []backend.Leftover {
		all, err := k.open("").Found(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all, func(l backend.Leftover) bool { return l.ID != s.ID })
	}
	if found := ours(); len(found) != 1 || found[0].Idle || !strings.HasPrefix(found[0].What, "mount ") {
		t.Errorf("just lent: %+v", found)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(s.Dir, ownFolder), long, long); err != nil {
		t.Fatal(err)
	}
	if found := ours(); len(found) != 1 || !found[0].Idle {
		t.Errorf("lent long ago: %+v", found)
	}
	if err := k.open("").Remove(t.Context(), s.ID); err != nil {
		t.Error(err)
	}
	if found := ours(); len(found) != 0 {
		t.Errorf("left behind: %+v", found)
	}
}
