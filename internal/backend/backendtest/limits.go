package backendtest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

var limitRows = []row{
	{"a fork bomb", forkBomb},
	{"a memory hog", memoryHog},
	{"filling the temporary folders", fillTmp},
	{"filling them with empty files", fillInodes},
	{"open files and core dumps", openFiles},
	{"filling the disk", fillDisk},
}

func forkBomb(t *testing.T, c Config) {
	other := up(t, c)
	f := up(t, c, func(s *backend.Spec) { s.Limits.PIDs = 64 })
	came := f.attack("fork", false)
	n, err := strconv.Atoi(came["children"])
	if err != nil || n < 8 || n > 64+c.PIDSlack {
		t.Errorf("started %v of 64", came)
	}
	// A real one, in the background: the other bottle and the host stay as they are, and so does
	// the bottle itself, which can be stopped.
	f.sh("(b() { b | b & }; b) >/dev/null 2>&1 &")
	if got := other.sh("(true | true) & wait; echo fine"); got != "fine" {
		t.Errorf("the other bottle: %q", got)
	}
	f.stop()
}

func memoryHog(t *testing.T, c Config) {
	if by := c.Enforced["memory"]; by.By == "" {
		if by.Note == "" {
			t.Error("the memory limit is not enforced here, and nothing says why")
		}
		return
	}
	f := up(t, c, func(s *backend.Spec) { s.Limits.Memory = 96 << 20 })
	if c.OwnKernel { // its processes are one of the host's, and so is who is killed
		if r := f.run(attacker, attackCommand, "memory", "8"); r.exit.Code != 0 {
			t.Errorf("taking 8 MiB of 96: %+v %s", r.exit, r.out)
		}
		if _, err := wire.Exec(t.Context(), f.bottle.Wire(), wire.Command{Argv: []string{attacker, attackCommand, "memory", "512"}, Env: environment, Dir: "/"}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-f.bottle.Done():
		case <-time.After(patience):
			t.Fatal("took 512 MiB of 96")
		}
		if err := f.bottle.Err(); err == nil || !strings.Contains(err.Error(), "ran out of its 96 MiB of memory") {
			t.Errorf("the bottle ended because of %v", err)
		}
		return
	}
	if r := f.run(attacker, attackCommand, "memory", "512"); r.exit.Signal != "SIGKILL" && r.exit.Code != 137 {
		t.Errorf("taking 512 MiB of 96: %+v %s", r.exit, r.out)
	}
	if got := f.sh("echo alive"); got != "alive" { // who was killed is the hog
		t.Errorf("got %q", got)
	}
	if r := f.run(attacker, attackCommand, "memory", "8"); r.exit.Code != 0 {
		t.Errorf("taking 8 MiB of 96: %+v %s", r.exit, r.out)
	}
}

func fillTmp(t *testing.T, c Config) {
	f := up(t, c, func(s *backend.Spec) { s.Limits.Tmp = 8 << 20 })
	for _, dir := range []string{"/tmp", "/run", "/dev/shm", "/var/tmp"} {
		f.sh("head -c 4000000 /dev/zero > " + dir + "/some; rm " + dir + "/some")
		if got := f.fails("head -c 16000000 /dev/zero > " + dir + "/all"); !strings.Contains(got, "No space left") {
			t.Errorf("%s: %s", dir, got)
		}
		f.sh("rm " + dir + "/all")
	}
}

func fillInodes(t *testing.T, c Config) {
	if by, ok := c.Enforced["tmp files"]; ok && by.By == "" {
		if by.Note == "" {
			t.Error("their number is not limited here, and nothing says why")
		}
		return
	}
	f := up(t, c, func(s *backend.Spec) { s.Limits.Tmp = 8 << 20 })
	came := f.attack("inodes", false, "/dev/shm", "20000")
	if came["error"] != "ENOSPC" {
		t.Errorf("20000 empty files in 8 MiB: %v", came)
	}
	f.sh("echo x > /tmp/still")
}

func openFiles(t *testing.T, c Config) {
	f := up(t, c)
	if got := f.sh("ulimit -Hn; ulimit -Hc"); strings.Contains(got, "unlimited") || !strings.HasSuffix(got, "\n0") {
		t.Errorf("got %q", got)
	}
	if got := f.fails("ulimit -Hc 1000"); got == "" {
		t.Error("the limit of core files can be raised")
	}
}

func fillDisk(t *testing.T, c Config) {
	f := up(t, c, func(s *backend.Spec) { s.Limits.Disk = 4 << 20 })
	f.sh("head -c 1000000 /dev/zero > /workspace/some")
	// A single file ends at the limit. Several together end the bottle; that one and what was there before are
	// that already, so it may end in the middle of either.
	if r, err := f.try("head -c 8000000 /dev/zero > /workspace/big; test $(stat -c %s /workspace/big) -gt 5000000"); err == nil && r.exit.Code == 0 {
		t.Errorf("a file larger than the limit: %s%s", r.out, r.err)
	}
	_, _ = f.try("cd /workspace; for i in 1 2 3 4; do head -c 2000000 /dev/urandom > f$i; done") // how the bottle ends is told below
	select {
	case <-f.bottle.Done():
	case <-time.After(patience):
		t.Fatal("nothing happened")
	}
	if err := f.bottle.Err(); err == nil || !strings.Contains(err.Error(), "disk limit") {
		t.Errorf("the bottle ended because of %v", err)
	}
}
