package smolvm

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func program(t *testing.T, path, text string) string {
	t.Helper()
	// What another test forks meanwhile would have it open for writing until it is another program, and nobody
	// could run it (golang/go#22315).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func vars(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func TestFindTakesTheFirstThereIs(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	dirs := t.TempDir()
	if _, err := Find(vars(map[string]string{"PATH": dirs}), home); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("without any: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dirs, "folder", "smolvm"), 0o755); err != nil {
		t.Fatal(err)
	}
	installed := program(t, filepath.Join(home, ".smolvm", "smolvm"), "")
	inPath := program(t, filepath.Join(dirs, "b", "smolvm"), "")
	named := program(t, filepath.Join(dirs, "mine"), "")
	path := strings.Join([]string{"relative", filepath.Join(dirs, "folder"), filepath.Join(dirs, "b")}, string(os.PathListSeparator))
	for _, c := range []struct {
		name string
		vars map[string]string
		path string
		data string
	}{
		{"installed", map[string]string{"PATH": dirs}, installed, filepath.Join(home, ".local/share/claude-bottle/smolvm")},
		{"in PATH", map[string]string{"PATH": path, "XDG_DATA_HOME": "/d"}, inPath, "/d/claude-bottle/smolvm"},
		{"a relative data home", map[string]string{"PATH": path, "XDG_DATA_HOME": "d"}, inPath, filepath.Join(home, ".local/share/claude-bottle/smolvm")},
		{"named", map[string]string{"PATH": path, ProgramVariable: named, DataVariable: "/short"}, named, "/short"},
	} {
		got, err := Find(vars(c.vars), home)
		if err != nil || got.Path != c.path || got.Data != c.data || got.Insisted != (c.path == named) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	for _, bad := range []map[string]string{{ProgramVariable: "smolvm"}, {ProgramVariable: filepath.Join(dirs, "none")}, {ProgramVariable: dirs}, {DataVariable: "data"}} {
		if _, err := Find(vars(bad), home); err == nil || errors.Is(err, ErrNotInstalled) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestTheProgramGetsNothingOfTheOperators(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".local/share/smolvm/agent-rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	program(t, filepath.Join(home, ".smolvm/smolvm"), "")
	tool, err := Find(vars(map[string]string{"HTTPS_PROXY": "http://proxy", "SMOLVM_PUBLISH_ADDR": "0.0.0.0", "SECRET": "x", DataVariable: "/d"}), home)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range tool.environment() {
		name, value, _ := strings.Cut(v, "=")
		names = append(names, name)
		if name == "HOME" && value != "/d" {
			t.Errorf("its home is %s", value)
		}
	}
	want := []string{"PATH", "LANG", "HOME", "SMOLVM_DATA_DIR", "SMOLVM_SECCOMP", "SMOLVM_LANDLOCK", "SMOLVM_EGRESS_FLOOR", "SMOLVM_AGENT_ROOTFS"}
	if !slices.Equal(names, want) {
		t.Errorf("it gets %q", names)
	}
}

func TestKVMThatOpensMayStandForNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	device := filepath.Join(dir, "kvm")
	modules := filepath.Join(dir, "modules")
	if why, fix, certain := kvm(device, modules, "amd64"); !certain || !strings.Contains(why, "no /dev/kvm") || fix == "" {
		t.Errorf("without it: %q, %q, %v", why, fix, certain)
	}
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if why, _, certain := kvm(device, modules, "amd64"); certain || !strings.Contains(why, "unable to boot a guest") {
		t.Errorf("paravirtual: %q, %v", why, certain)
	}
	if why, _, _ := kvm(device, modules, "arm64"); why != "" {
		t.Errorf("on arm64: %q", why)
	}
	if err := os.MkdirAll(filepath.Join(modules, "kvm_amd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if why, _, _ := kvm(device, modules, "amd64"); why != "" {
		t.Errorf("the processor's own: %q", why)
	}
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		return // for whom nothing is forbidden
	}
	if err := os.Chmod(device, 0); err != nil {
		t.Fatal(err)
	}
	if why, fix, certain := kvm(device, modules, "amd64"); !certain || !strings.Contains(why, "not for this user") || !strings.Contains(fix, "usermod") {
		t.Errorf("forbidden: %q, %q, %v", why, fix, certain)
	}
}

func TestOnlyKnownVersionsWillDo(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{
		"1.9.0": true, "1.9.2": true, "1.16.3": true, "1.10.0-rc1": true,
		"1.8.3": false, "0.8.2": false, "2.0.0": false, "1.9": false, "": false, "nightly": false, "a.b.c": false, "-1.9.0": false,
	} {
		if why := outdated(version); (why == "") != ok {
			t.Errorf("%q: %q", version, why)
		}
	}
}

// A program that is asked prints a line to a file, so that it can be told how often it was.
func TestCheckAsksOnceAndRefusesOthers(t *testing.T) {
	t.Parallel()
	const help = `--from --mount-socket --label`
	for _, c := range []struct{ name, text, words string }{
		{"one we know", `case "$1" in --version) echo smolvm 1.9.2;; *) echo "` + help + `";; esac`, ""},
		{"an old one", `echo smolvm 0.8.2`, "version 0.8.2"},
		{"a future one", `echo smolvm 2.0.0`, "not known"},
		{"another program", `echo SmolVM CLI 0.3`, "another program of that name"},
		{"one without a socket", `case "$1" in --version) echo smolvm 1.9.2;; *) echo "--from --label";; esac`, "--mount-socket"},
		{"one that fails", `echo "Error: database operation failed: busy" >&2; exit 1`, "database operation failed"},
		{"one that speaks in colours", `printf 'Error: \033[31mred' >&2; exit 1`, "red"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			asked := filepath.Join(dir, "asked")
			tool := Tool{Path: program(t, filepath.Join(dir, "smolvm"), "echo x >>"+asked+"\n"+c.text+"\n"), Data: filepath.Join(dir, "data")}
			for range 2 {
				version, err := tool.Check(t.Context())
				if c.words == "" && (err != nil || version != "1.9.2") {
					t.Fatalf("%q, %v", version, err)
				}
				if c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "\x1b")) {
					t.Fatalf("%q, %v", version, err)
				}
			}
			if text, err := os.ReadFile(asked); c.words == "" && (err != nil || len(text) != 4) {
				t.Errorf("it was asked %d times, %v", len(text)/2, err)
			}
		})
	}
}

func TestErrorsAreToldApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		said string
		is   error
		fix  string
	}{
		{"Error: vm not found: x\n", ErrNoMachine, ""},
		{"warn: slow\nError: config operation failed: create machine: machine 'x' already exists or is being created\n", ErrExists, ""},
		{"Error: storage operation failed: write: No space left on device", nil, "cleanup --cache"},
		{"Error: agent operation failed: start machine: kvm permission denied: /dev/kvm", nil, "usermod"},
		{"Error: agent operation failed: start machine: hypervisor not available: none", nil, "doctor"},
		{"Error: database operation failed: busy", nil, "database"},
	} {
		err := Tool{Data: "/d"}.explain([]string{"machine", "create"}, c.said, errors.New("exit status 1"))
		var e *Error
		if !errors.As(err, &e) || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(e.Hint(), c.fix) || !strings.HasPrefix(err.Error(), "smolvm machine create: ") {
			t.Errorf("%q: %v, hint %q", c.said, err, e.Hint())
		}
	}
	if err := (Tool{}).explain([]string{"machine", "ls"}, "", errors.New("signal: killed")); !strings.Contains(err.Error(), "signal: killed") {
		t.Error(err)
	}
}
