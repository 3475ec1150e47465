package docker

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/engine"
)

type hinted struct{ error }

func (hinted) Hint() string { return "docker context use default" }

func TestFactsSayWhetherAnEngineIsThere(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err) // too long a TMPDIR among others
	}
	t.Cleanup(func() { _ = l.Close() })
	for name, c := range map[string]struct {
		where        engine.Where
		err          error
		at, why, fix string // parts; empty for none at all
	}{
		"a socket":                {engine.Where{Host: "unix://" + socket, From: "DOCKER_HOST"}, nil, socket + " (DOCKER_HOST)", "", ""},
		"no socket":               {engine.Where{Host: "unix://" + dir + "/none"}, nil, dir + "/none", "no such socket", "start"},
		"a folder":                {engine.Where{Host: "unix://" + dir}, nil, dir, "no socket", "docker context ls"},
		"an engine elsewhere":     {engine.Where{Host: "ssh://me@far.test"}, nil, "ssh://me@far.test", "", ""},
		"an address that is none": {engine.Where{Host: "gopher://x"}, nil, "gopher://x", "gopher", "docker context ls"},
		"a context that isn't":    {engine.Where{}, hinted{errors.New("no context work")}, "", "no context work", "docker context use default"},
		"nothing to say about it": {engine.Where{}, fmt.Errorf("unreadable"), "", "unreadable", ""},
	} {
		f := factsOf(c.where, c.err)
		if f.Name != Name || !f.OwnSystem || f.Ready != (c.why == "") {
			t.Errorf("%s: %+v", name, f)
		}
		for got, want := range map[string]string{f.At: c.at, f.Why: c.why, f.Fix: c.fix} {
			if !strings.Contains(got, want) || want == "" && got != "" {
				t.Errorf("%s: says %q, want %q", name, got, want)
			}
		}
		for _, limit := range []string{"memory", "pids", "cpus", "disk", "tmp"} {
			if f.Limits[limit].By == "" {
				t.Errorf("%s: nothing is said of the limit of %s", name, limit)
			}
		}
	}
}
