package docker

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// derived makes an image of the base's by the instructions of a Dockerfile, and returns its name.
func (k kind) derived(t *testing.T, instructions ...string) string {
	t.Helper()
	api, id := k.api(t), newID(t)
	made, err := api.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config: &container.Config{Image: k.system().Ref}, HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { // before the image, which is of it
		if _, err := api.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	}()
	ref := "claude-bottle-test-" + id.String() + ":latest"
	if _, err := api.ContainerCommit(t.Context(), made.ID, client.ContainerCommitOptions{Reference: ref, Changes: instructions, Config: &container.Config{}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := api.ImageRemove(context.Background(), ref, client.ImageRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	return ref
}

// An image is anybody's: what it declares must not be taken for ours after a crash, nor change how
// it is run.
func TestWhatAnImageDeclaresHasNoSay(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			k.needed(t)
			t.Parallel()
			s := k.aSpecOn(t)
			victim := t.TempDir()
			write(t, victim+"/theirs", "theirs")
			own := labelsOf(s.ID)
			s.System.Ref = k.derived(t,
				`LABEL `+labelHost+`=`+own[labelHost]+` `+labelLent+`=["`+victim+`"] `+labelCarried+`=[{"volume":"v","source":"`+victim+`","target":"/etc"}]`,
				`ENTRYPOINT ["/bin/false"]`, `CMD ["x"]`, `USER 1234`, `WORKDIR /nowhere`, `ENV LD_PRELOAD=/evil.so`, `VOLUME /var/mail`, `EXPOSE 80`,
			)
			b := k.up(t, s)
			sh(t, b, "true")
			_, c := k.inspected(t, s.ID)
			for _, l := range []string{labelLent, labelCarried} {
				if strings.Contains(c.Config.Labels[l], victim) {
					t.Errorf("the image's label %s is the container's: %s", l, c.Config.Labels[l])
				}
			}
			if c.Config.User != "0:0" || c.Config.WorkingDir != "/" || c.Config.Entrypoint[0] != corkPath {
				t.Errorf("%s begins as %s in %s", c.Config.Entrypoint, c.Config.User, c.Config.WorkingDir)
			}
			for _, m := range c.Mounts {
				if m.Destination == "/var/mail" && m.RW {
					t.Error("the image's volume can be written to")
				}
			}
			sh(t, b, "test -d /var/mail; ! touch /var/mail/x")
			if err := b.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			holds(t, victim+"/theirs", "theirs")
			if left := k.remains(t, s); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// Somebody's own container of such an image has the same labels.
func TestContainersOfOthersAreNotOurs(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		if k.name != "docker" && k.name != "podman" {
			continue // the same engine, or the same program
		}
		t.Run(k.name, func(t *testing.T) {
			k.needed(t)
			t.Parallel()
			id, victim := newID(t), t.TempDir()
			write(t, victim+"/theirs", "theirs")
			api := k.api(t)
			made, err := api.ContainerCreate(t.Context(), client.ContainerCreateOptions{
				Config: &container.Config{Image: k.system().Ref, Labels: map[string]string{
					labelID: id.String(), labelHost: labelsOf(id)[labelHost], labelCarried: `[{"volume":"v","source":"` + victim + `","target":"/etc"}]`,
				}},
				HostConfig: &container.HostConfig{NetworkMode: "none"},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if _, err := api.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
					t.Error(err)
				}
			})
			if err := k.open("").Remove(t.Context(), id); err != nil {
				t.Error(err)
			}
			if _, err := api.ContainerInspect(t.Context(), made.ID, client.ContainerInspectOptions{}); err != nil {
				t.Errorf("it is gone: %v", err)
			}
			holds(t, victim+"/theirs", "theirs")
		})
	}
}

// An engine on this very kernel may see other files than we do: one that sees none of ours stands for
// it here, taken for one that does. And one that maps ids is given copies at once, as a rootless one
// does: it is root's here, and taken for such.
func TestFoldersThatCanNotBeSharedAreCopied(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		mistaken := identity{cork: mappedCork, agentUID: mappedAgent, agentGID: mappedAgent, own: true}
		if k.tls {
			mistaken = identity{cork: mappedCork, agentUID: mappedAgent, agentGID: mappedAgent, shared: true}
		}
		t.Run(k.name, func(t *testing.T) {
			k.needed(t)
			t.Parallel()
			spec := k.aSpecOn(t)
			var said []string
			s := &start{backend: k.open("").(*Backend), spec: spec, words: &spawn.Words{}, say: func(line string) { said = append(said, line) }}
			var err error
			if s.engine, err = s.backend.connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.undo.Add(s.engine.Close)
			s.info = s.engine.Info()
			mistake := func(context.Context) error { s.who = mistaken; return nil }
			for _, step := range []func(context.Context) error{s.chooseRuntime, mistake, s.makeImage, s.hold, s.build, s.attach, s.run} {
				if err := step(t.Context()); err != nil {
					t.Fatal(err, s.undo.Run())
				}
			}
			b, err := s.meet(t.Context())
			if err != nil {
				t.Fatal(err, s.undo.Run())
			}
			sh(t, b, "cd /workspace; grep years thesis; echo and one more >> thesis; mkdir -p d/e; echo deep > d/e/f; ln d/e/f d/hard; ln thesis zzz; ln -s d/e/f soft; mkfifo pipe; chmod 555 d/e")
			if err := b.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			for name, text := range map[string]string{
				"thesis": "years of workand one more\n", "zzz": "years of workand one more\n", "d/e/f": "deep\n", "d/hard": "deep\n", "soft": "deep\n",
			} {
				holds(t, filepath.Join(workOf(spec), name), text)
			}
			var got []string
			if err := filepath.WalkDir(workOf(spec), func(p string, _ fs.DirEntry, err error) error {
				got = append(got, p)
				return err
			}); err != nil || len(got) != 1+7 { // with two folders in it
				t.Errorf("there is %q, %v", got, err)
			}
			if k.tls != strings.Contains(strings.Join(said, "\n"), "copying instead of sharing") {
				t.Errorf("it said %q", said)
			}
			if left := k.remains(t, spec); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}
