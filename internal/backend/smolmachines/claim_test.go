package smolmachines

import (
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend/carry"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/smolvm"
)

func newID(t *testing.T) bottle.ID {
	t.Helper()
	name, err := bottle.ParseName("claimed")
	if err != nil {
		t.Fatal(err)
	}
	id, err := bottle.NewID(name, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAClaimIsOneProcesss(t *testing.T) {
	t.Parallel()
	data, id := t.TempDir(), newID(t)
	if held(data, id) {
		t.Error("a bottle that nobody claimed is held")
	}
	c, err := take(data, id)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.read(); err != nil || r.Filled || len(r.Carried) > 0 {
		t.Errorf("a new claim says %+v, %v", r, err)
	}
	want := record{Carried: []carry.Folder{{Source: "/a", Target: "/b"}}, Filled: true, Socket: "/s"}
	if err := c.write(want); err != nil {
		t.Fatal(err)
	}
	if _, err := take(data, id); !errors.Is(err, errHeld) {
		t.Errorf("taken twice: %v", err)
	}
	if !held(data, id) {
		t.Error("it is not held")
	}
	c.release()
	if held(data, id) {
		t.Error("it is held by nobody")
	}
	again, err := take(data, id)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := again.read(); err != nil || !r.Filled || r.Socket != "/s" || len(r.Carried) != 1 {
		t.Errorf("what was left says %+v, %v", r, err)
	}
	if all, err := claims(data); err != nil || len(all) != 1 {
		t.Errorf("claims: %v, %v", all, err)
	}
	if err := again.drop(); err != nil {
		t.Fatal(err)
	}
	if all, err := claims(data); err != nil || len(all) != 0 {
		t.Errorf("claims: %v, %v", all, err)
	}
	if _, err := os.Stat(claimDir(data, id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestMachinesAreCalledWhatSmolvmTakes(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, agent := range []string{"a", "a-b", "a--b", "a---b", "a-", strings.Repeat("x", 40)} {
		id, err := bottle.ParseID(agent + "-abcde")
		if err != nil {
			t.Fatal(err)
		}
		name := machineName(id)
		if strings.Contains(name, "--") || strings.HasSuffix(name, "-") || len(name) > 128 || !strings.HasPrefix(name, "claude-bottle-a") && agent[0] == 'a' {
			t.Errorf("%s is called %s", id, name)
		}
		if other := seen[name]; other != "" {
			t.Errorf("%s and %s are both called %s", id, other, name)
		}
		seen[name] = id.String()
	}
}

func TestFactsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	fine := func() (string, string, bool) { return "", "", false }
	doubtful := func() (string, string, bool) { return "it may not boot", "try it", false }
	broken := func() (string, string, bool) { return "no /dev/kvm", "enable it", true }
	backendWith := func(vars map[string]string) *Backend {
		vars["HOME"] = home
		return &Backend{env: func(name string) (string, bool) { v, ok := vars[name]; return v, ok }}
	}
	f := backendWith(map[string]string{}).facts(fine)
	if f.Ready || !strings.Contains(f.Why, "not installed") || !strings.Contains(f.Fix, smolvm.ProgramVariable) {
		t.Errorf("without smolvm: %+v", f)
	}
	program := home + "/smolvm"
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	inPath := map[string]string{"PATH": home}
	if f := backendWith(inPath).facts(fine); !f.Ready || !f.OwnSystem || len(f.Notes) == 0 || f.Limits["pids"].By == "" {
		t.Errorf("with it: %+v", f)
	}
	if f := backendWith(inPath).facts(doubtful); !f.Ready {
		t.Errorf("where it may not boot: %+v", f)
	}
	if f := backendWith(inPath).facts(broken); f.Ready || f.Why != "no /dev/kvm" || f.Fix != "enable it" {
		t.Errorf("where it can't: %+v", f)
	}
	if f := backendWith(map[string]string{smolvm.ProgramVariable: program}).facts(broken); !f.Ready {
		t.Errorf("where the operator insists: %+v", f)
	}
	if f := backendWith(map[string]string{smolvm.ProgramVariable: "none"}).facts(fine); f.Ready || !strings.Contains(f.Fix, "export") {
		t.Errorf("with a wrong name: %+v", f)
	}
}
