package docker

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/mount"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// carriedOf are copies of a bottle's folders, without an engine.
func carriedOf(s backend.Spec) *carriedFolders {
	f := &carriedFolders{start: &start{spec: s, cork: os.Args[0], who: identity{agentUID: 5000, agentGID: 5000}}}
	for _, m := range s.Mounts {
		if m.Writable {
			f.volumes = append(f.volumes, carried{Volume: "v" + m.Target, Source: m.Source, Target: m.Target})
		}
	}
	return f
}

func TestNothingThatMustBeReadOnlyIsCarriedToWhereTheAgentWrites(t *testing.T) {
	t.Parallel()
	f := carriedOf(aSpec(t))
	for target, words := range map[string]string{
		"/etc/passwd": "", "/opt/claude-bottle/claude": "", "/home/agents/x": "", "/workspaces": "", "/tmpfiles/x": "", "/home": "",
		"/home/agent/.claude/settings.json": "which the agent may write to", "/workspace/a": "which the agent may write to",
		"/tmp/x": "empty at every start", "/var/tmp/a/b": "empty at every start", "/run/x": "empty at every start", "/dev/shm/x": "empty at every start",
	} {
		if err := f.outside(target); (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestALayerHoldsCorkTheFilesAndWhatIsReadOnly(t *testing.T) {
	t.Parallel()
	s := aSpec(t)
	write(t, filepath.Join(s.Mounts[0].Source, "private"), "the home is no part of it")
	program := t.TempDir()
	if err := os.Chmod(write(t, filepath.Join(program, "src/main.go"), "package main"), 0o750); err != nil {
		t.Fatal(err)
	}
	s.Mounts = append(s.Mounts, backend.Mount{Source: program, Target: "/opt/claude-bottle/claude"})
	s.Files = []backend.File{{Path: "/etc/hosts", Mode: 0o600, Data: []byte("127.0.0.1 ours\n")}, {Path: "/etc/ssl/bottle.pem", Mode: 0o444 | fs.ModeSetuid, Data: []byte("cert")}}
	var layer bytes.Buffer
	if err := carriedOf(s).pack(t.Context(), &layer); err != nil {
		t.Fatal(err)
	}
	headers, texts := listed(t, &layer)
	for name, mode := range map[string]int64{
		".claude-bottle/cork": 0o755, "etc/passwd": 0o644, "etc/hosts": 0o600, "etc/ssl/bottle.pem": 0o444, "opt/claude-bottle/claude/src/main.go": 0o750,
	} {
		if h := headers[name]; h == nil || h.Mode != mode || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if texts["etc/hosts"] != "127.0.0.1 ours\n" || !strings.Contains(texts["etc/passwd"], "agent:x:5000:5000:") {
		t.Errorf("hosts %q, passwd %q", texts["etc/hosts"], texts["etc/passwd"])
	}
	for name := range headers {
		if strings.HasPrefix(name, "home") || strings.HasPrefix(name, "workspace") || strings.HasPrefix(name, "/") {
			t.Errorf("the layer holds %s", name)
		}
	}
	for what, change := range map[string]func(*backend.Spec){
		"a file": func(s *backend.Spec) { s.Files = []backend.File{{Path: backend.Home + "/.netrc"}} },
		"a folder": func(s *backend.Spec) {
			s.Mounts = append(s.Mounts, backend.Mount{Source: t.TempDir(), Target: backend.Workspace + "/tools"})
		},
	} {
		s := aSpec(t)
		change(&s)
		if err := carriedOf(s).pack(t.Context(), io.Discard); err == nil {
			t.Errorf("%s was put where the agent writes", what)
		}
	}
}

func TestVolumesAreEmptyOnesOfTheBottle(t *testing.T) {
	t.Parallel()
	s := aSpec(t)
	f := carriedOf(s)
	for i, m := range f.mounts() {
		if m.Type != mount.TypeVolume || m.Source != f.volumes[i].Volume || m.Target != s.Mounts[i].Target || m.ReadOnly ||
			!m.VolumeOptions.NoCopy || m.VolumeOptions.Labels[labelID] != s.ID.String() {
			t.Errorf("%+v", m)
		}
	}
	labels := labelsOf(s.ID)
	if err := f.label(labels); err != nil || !strings.Contains(labels[labelCarried], s.Mounts[0].Source) {
		t.Errorf("%v, %v", labels, err)
	}
}

// listed are an archive's entries by name, and what files hold.
func listed(t *testing.T, r io.Reader) (map[string]*tar.Header, map[string]string) {
	t.Helper()
	headers, texts := map[string]*tar.Header{}, map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return headers, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		headers[h.Name], texts[h.Name] = h, string(text)
	}
}
