//go:build linux

package smolvmtest_test

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest"
)

// manifestOf reads an artifact's manifest, by its footer.
func manifestOf(t *testing.T, path string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	foot := b[len(b)-64:]
	at, n := binary.LittleEndian.Uint64(foot[36:]), binary.LittleEndian.Uint64(foot[44:])
	var m map[string]any
	if err := json.Unmarshal(b[at:at+n], &m); err != nil || string(foot[:8]) != "SMOLPACK" {
		t.Fatalf("footer %q: %v", foot, err)
	}
	return m
}

func TestPack(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	files, err := system()
	if err != nil {
		t.Fatal(err)
	}
	reg := newRegistry(t)
	first := reg.push(t, "layers", map[string]any{"Env": []string{"A=1"}, "Entrypoint": []string{"/bin/sh"}, "Cmd": []string{"-c", "true"}, "WorkingDir": "/work"},
		layer(t, append(files, file{name: "work/"}, file{name: "work/gone", body: "x"}, file{name: "work/changed", body: "old"},
			file{name: "opaque/"}, file{name: "opaque/old", body: "x"}, file{name: "kept/"}, file{name: "kept/old", body: "x"})...),
		layer(t, file{name: "work/.wh.gone"}, file{name: "work/changed", body: "new", mode: 0o4750, uid: 7},
			file{name: "opaque/"}, file{name: "opaque/.wh..wh..opq"}, file{name: "opaque/new", body: "x"}, file{name: "kept/new", body: "x"},
			file{name: "work/link", link: "/work/changed"}, file{name: "work/hard", link: "=work/changed"},
			file{name: "up", link: "../../../../../.."}, file{name: "up/escaped", body: "x"}))
	dir := t.TempDir()
	out, staging := filepath.Join(dir, "out"), filepath.Join(dir, "staging")
	r.must("pack", "create", "--image", reg.image(":layers"), "-o", out, "--staging-dir", staging, "--cpus", "3", "--mem", "512", "--no-sign")
	m := manifestOf(t, out+".smolmachine")
	if m["image"] != reg.image(":layers") || m["digest"] != first["digest"] || m["platform"] != "linux/"+runtime.GOARCH || m["network"] != false ||
		m["cpus"] != 3.0 || m["mem"] != 512.0 || m["workdir"] != "/work" || m["smolvm_version"] != "1.9.2" || m["mode"] != "container" ||
		m["env"].([]any)[0] != "A=1" || len(m["assets"].(map[string]any)["layers"].([]any)) != 2 {
		t.Errorf("manifest %v", m)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("the program beside it: %v (%v)", info, err)
	}
	if left, err := os.ReadDir(staging); err != nil || len(left) > 0 || len(r.Running()) > 0 {
		t.Errorf("left: %v (%v), processes %v", left, err, r.Running())
	}
	r.must("machine", "create", "--name", "a", "--from", out+".smolmachine", "--cpus", "4", "--mem", "8192")
	if s := r.status("a"); s["cpus"] != 3.0 || s["memory_mib"] != 512.0 || s["image"] != reg.image(":layers") {
		t.Errorf("defaults that are written count as not said: %v", s)
	}
	// The artifact may go.
	if err := os.Remove(out + ".smolmachine"); err != nil {
		t.Fatal(err)
	}
	r.must("machine", "start", "--name", "a")
	got := r.exec("a", "pwd; ls /work /opaque /kept; cat link; stat -c '%a %u %Y %h' changed; ls -d /escaped; echo $A")
	if want := "/work\n/kept:\nnew\nold\n\n/opaque:\nnew\n\n/work:\nchanged\nhard\nlink\nnew4750 7 1000000000 2\n/escaped\n1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	// An index is looked up for the platform.
	first["platform"] = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
	other := reg.push(t, "other", map[string]any{}, layer(t, file{name: "x"}))
	other["platform"] = map[string]string{"os": "linux", "architecture": "s390x"}
	reg.manifest(t, "index", indexKind, map[string]any{"manifests": []any{other, first}})
	r.must("pack", "create", "-I", reg.image(":index"), "-o", out)
	if m := manifestOf(t, out+".smolmachine"); m["digest"] != first["digest"] {
		t.Errorf("manifest %v", m)
	}
	r.must("pack", "create", "-I", reg.image("@"+other["digest"].(string)), "-o", out, "--oci-platform", "linux/s390x", "--entrypoint", "/x")
	if m := manifestOf(t, out+".smolmachine"); m["digest"] != other["digest"] || m["entrypoint"].([]any)[0] != "/x" {
		t.Errorf("manifest %v", m)
	}

	r.Fault(smolvmtest.Faults{PackNetwork: true, PackArch: "linux/arm64"})
	if runtime.GOARCH == "arm64" {
		r.Fault(smolvmtest.Faults{PackNetwork: true, PackArch: "linux/amd64"})
	}
	r.must("pack", "create", "-I", reg.image(":layers"), "-o", out)
	r.Fault(smolvmtest.Faults{})
	if m := manifestOf(t, out+".smolmachine"); m["network"] != true {
		t.Errorf("manifest %v", m)
	}
	r.fails(1, "Error: agent operation failed: platform mismatch: ", "machine", "create", "--from", out+".smolmachine")

	// Contents that no machine needs go, those of a go not.
	r.must("pack", "prune", "--all")
	r.must("machine", "stop", "--name", "a")
	r.must("machine", "start", "--name", "a")
	r.must("machine", "delete", "--name", "a", "--force")
	if out := r.must("pack", "prune", "--all"); strings.Count(out, "Removed") != 1 {
		t.Errorf("prune says %q", out)
	}
	r.fails(1, "Error: config operation failed: pack create: --output names the executable stub", "pack", "create", "-I", "127.0.0.1:1/x", "-o", "x.smolmachine")
	r.fails(1, "invalid image reference './x.tar:latest'", "pack", "create", "-I", "./x.tar", "-o", out)
	r.fails(1, "failed to pull image 'alpine'", "pack", "create", "-I", "alpine", "-o", out)
	r.fails(1, "404", "pack", "create", "-I", reg.image(":none"), "-o", out)
	r.fails(1, "no child with platform linux/mips", "pack", "create", "-I", reg.image(":index"), "-o", out, "--oci-platform", "linux/mips")
	reg.mu.Lock()
	reg.parts["manifests/"+first["digest"].(string)] = []byte("{}")
	reg.mu.Unlock()
	r.fails(1, "has the digest", "pack", "create", "-I", reg.image("@"+first["digest"].(string)), "-o", out)
	if left, err := filepath.Glob(r.data + "/.cache/smolvm/vms/[0-9a-f]*"); err != nil || len(left) > 0 || len(r.Running()) > 0 {
		t.Errorf("left: %v (%v), processes %v", left, err, r.Running())
	}
}

// A pack create that is killed leaves its machine, which no list has.
func TestPackKilled(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		r := install(t)
		r.Fault(smolvmtest.Faults{SlowPack: time.Minute})
		cmd := r.command("pack", "create", "--image", "127.0.0.1:1/x", "-o", filepath.Join(t.TempDir(), "x"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "no machine", func() bool { return len(r.Running()) == 1 })
		names, err := filepath.Glob(r.data + "/.cache/smolvm/vms/*/name")
		if err != nil || len(names) != 1 {
			t.Fatalf("machines %v (%v)", names, err)
		}
		if name, err := os.ReadFile(names[0]); err != nil || !strings.HasPrefix(string(name), "pack-") {
			t.Errorf("name %q (%v)", name, err)
		}
		if out := r.must("machine", "ls", "--json"); out != "[]\n" {
			t.Errorf("machines %s", out)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		time.Sleep(50 * time.Millisecond)
		if len(r.Running()) == 0 { // it may just be starting another of its processes
			t.Errorf("%v: its machine is gone", sig)
		}
		if _, err := os.Stat(names[0]); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		// It ends when it is told to.
		if err := syscall.Kill(r.Running()[0], syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the machine lives", func() bool { return len(r.Running()) == 0 })
	}
}
