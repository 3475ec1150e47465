//go:build linux

package smolvmtest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest"
)

func TestLifecycle(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	if out := r.must("machine", "ls", "--json"); out != "[]\n" {
		t.Errorf("no machines are %q", out)
	}
	r.fails(1, "Error: vm not found: a\n", "machine", "start", "--name", "a")
	r.fails(1, "Error: vm not found: a\n", "machine", "stop", "--name", "a")
	r.fails(1, "Error: vm not found: a\n", "machine", "delete", "--name", "a", "--force")
	r.fails(1, "Error: vm not found: a\n", "machine", "exec", "--name", "a", "true")
	r.fails(1, "machine 'a' not found", "machine", "status", "--name", "a", "--json")

	out := r.must("machine", "create", "--name", "a", "--from", packed(t), "--label", "k=v=w", "--cpus", "2", "--storage", "5", "--", "/bin/true")
	if !strings.Contains(out, "Created machine: a\n  CPUs: 2, Memory: 8192 MiB\n") {
		t.Errorf("create says %q", out)
	}
	r.fails(1, "Error: config operation failed: create machine: machine 'a' already exists or is being created\n", "machine", "create", "--name", "a", "--from", packed(t))
	r.fails(1, "connect: machine 'a' is not running. Use 'smolvm machine start --name a' first.", "machine", "exec", "--name", "a", "true")
	if out := r.must("machine", "stop", "--name", "a"); out != "Machine 'a' is not running (state: created)\n" {
		t.Errorf("stop says %q", out)
	}
	s := r.status("a")
	if len(s) != 31 || s["state"] != "created" || s["pid"] != nil || s["network"] != false || s["cpus"] != 2.0 ||
		s["labels"].(map[string]any)["k"] != "v=w" || s["storage_gb"] != 5.0 || s["overlay_gb"] != nil || s["cmd"].([]any)[0] != "/bin/true" {
		t.Errorf("%d keys: %v", len(s), s)
	}
	if out := r.must("machine", "start", "--name", "a"); !strings.HasPrefix(out, "Machine 'a' running (PID: ") {
		t.Errorf("start says %q", out)
	}
	s = r.status("a")
	pid := int(s["pid"].(float64))
	if s["state"] != "running" || !slices.Equal(r.Running(), []int{pid}) {
		t.Errorf("%v, processes %v", s, r.Running())
	}
	if out := r.must("machine", "start", "--name", "a"); out != "Machine 'a' already running (PID: "+strconv.Itoa(pid)+")\n" {
		t.Errorf("start says %q", out)
	}
	dir := strings.TrimSpace(r.must("machine", "data-dir", "--name", "a"))
	for name, want := range map[string]string{"name": "a", "agent.pid": strconv.Itoa(pid)} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s is %q (%v)", name, b, err)
		}
	}
	if words, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err != nil || !strings.HasSuffix(string(words), "\x00_boot-vm\x00"+dir+"/boot-config.json\x00") {
		t.Errorf("the machine's process is %q (%v)", words, err)
	}
	if info, err := os.Stat(r.data); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the data folder is %v (%v)", info, err)
	}
	r.exec("a", "echo kept > /var/x; echo gone > /run/x")
	if out := r.must("machine", "stop", "--name", "a"); out != "Stopping machine 'a'...\nStopped machine: a\n" {
		t.Errorf("stop says %q", out)
	}
	if out := r.must("machine", "stop", "--name", "a"); out != "Machine 'a' is not running (state: stopped)\n" || len(r.Running()) > 0 {
		t.Errorf("stop says %q, processes %v", out, r.Running())
	}
	r.must("machine", "start", "--name", "a")
	if out := r.exec("a", "cat /var/x; ls /run"); out != "kept\n" {
		t.Errorf("after a stop and a start: %q", out)
	}
	// Without --force it stops, asks, and takes an end of input for a no.
	if a := r.run("machine", "delete", "--name", "a"); a.code != 0 || !strings.HasSuffix(a.out, "Cancelled\n") || !strings.Contains(a.errors, "[y/N]") {
		t.Errorf("delete says %+v", a)
	}
	if s := r.status("a"); s["state"] != "stopped" {
		t.Errorf("after a cancelled delete: %v", s)
	}
	if out := r.must("vm", "rm", "-n", "a", "-f"); !strings.HasSuffix(out, "Deleted machine: a\n") {
		t.Errorf("delete says %q", out)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the machine's folder is there: %v", err)
	}
	r.fails(1, "Error: vm not found: a\n", "machine", "data-dir", "--name", "a")
	r.machine("b")
	if a := r.runWith("y\n", "machine", "delete", "--name", "b"); a.code != 0 || len(r.Running()) > 0 {
		t.Errorf("delete says %+v, processes %v", a, r.Running())
	}
}

// A machine whose process was killed is stopped, whatever its record says.
func TestDeadMachine(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	r.machine("a", "--", "sleep", "1000")
	pid := r.Running()[0]
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the machine runs", func() bool { return r.status("a")["state"] == "stopped" })
	if s := r.status("a"); s["pid"] != float64(pid) {
		t.Errorf("the record has lost its pid: %v", s)
	}
	r.must("machine", "start", "--name", "a")
	if s := r.status("a"); s["state"] != "running" {
		t.Errorf("after another start: %v", s)
	}
}

func TestCreateAtOnce(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	pack := packed(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 4 {
		wg.Go(func() {
			a := r.run("machine", "create", "--name", "a", "--from", pack)
			mu.Lock()
			defer mu.Unlock()
			if a.code == 0 {
				made++
			} else if !strings.Contains(a.errors, "already exists or is being created") {
				t.Errorf("create says %q", a.errors)
			}
		})
	}
	wg.Wait()
	var all []map[string]any
	if err := json.Unmarshal([]byte(r.must("machine", "ls", "--json")), &all); err != nil || len(all) != 1 || made != 1 {
		t.Errorf("%d made, %v (%v)", made, all, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	pack := packed(t)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	from := []string{"--name", "x", "--from", pack}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"create from .smolmachine: file not found: /none", []string{"--from", "/none"}},
		{"read .smolmachine: invalid magic", []string{"--from", plain}},
		{"machine name must start with a letter or digit", []string{"--from", pack, "--name", "_x"}},
		{"machine name cannot end with a hyphen", []string{"--from", pack, "--name", "x-"}},
		{"machine name cannot contain consecutive hyphens", []string{"--from", pack, "--name", "x--y"}},
		{"machine name cannot contain path separators", []string{"--from", pack, "--name", "x/y"}},
		{"machine name contains invalid character", []string{"--from", pack, "--name", "x.y"}},
		{"machine name cannot be empty", []string{"--from", pack, "--name", ""}},
		{"machine name too long", []string{"--from", pack, "--name", strings.Repeat("x", 129)}},
		{"--label: expected KEY=VALUE", append(from, "--label", "x")},
		{"--label: label key cannot be empty", append(from, "--label", "=x")},
		{"mount-socket: expected HOST_PATH:GUEST_PATH", append(from, "--mount-socket", "x")},
		{"publish-socket: guest path 'y' must be absolute", append(from, "--mount-socket", "/x:y")},
		{"is mounted more than once", append(from, "--mount-socket", "/x:/y", "--mount-socket", "/z:/y")},
		{"memory must be at least 64 MiB", append(from, "--mem", "63")},
		{"CPU count must be at least 1", append(from, "--cpus", "0")},
		{"storage disk size must be greater than 0", append(from, "--storage", "0")},
		{"mount source not found: /none", append(from, "-v", "/none:/x")},
		{"must be a directory", append(from, "-v", plain+":/x")},
		{"protected system path", append(from, "-v", "/etc:/x")},
		{"protected system path", append(from, "-v", "/:/x")},
		{"invalid format", append(from, "-v", "x")},
		{"duplicate mount target", append(from, "-v", dir+":/x", "-v", dir+":/x:ro")},
		{"duplicate host port 80", append(from, "-p", "80:1", "-p", "80:2")},
		{"published ports require the virtio-net backend", append(from, "-p", "80:1", "--net-backend", "tsi")},
		{"requires --net", append(from, "--net-backend", "virtio-net")},
		{"has no network", []string{"--image", "alpine"}},
		{"not played", []string{"--image", "./x.tar"}},
		{"not played", []string{"--name", "x"}},
	} {
		r.fails(1, c.says, append([]string{"machine", "create"}, c.args...)...)
	}
	if out := r.must("machine", "ls", "--json"); out != "[]\n" {
		t.Errorf("refused machines are there: %s", out)
	}
	a := r.run("machine", "create", "--name", "n", "--from", pack, "--workdir", "/none", "--gpu", "--secret-env", "A=NONE", "--", "sh", "--mem", "5", "--name", "x")
	if a.code != 0 || !strings.Contains(a.errors, "note: --mem, --name came after `--`, so they were passed to the workload") {
		t.Errorf("create says %+v", a)
	}
	for _, flags := range [][]string{{"--net"}, {"--allow-cidr", "10.0.0.0/8"}, {"--allow-host", "example.com"}} {
		r.must(append([]string{"machine", "create", "--name", "net", "--from", pack}, flags...)...)
		if s := r.status("net"); s["network"] != true {
			t.Errorf("%v: %v", flags, s)
		}
		r.must("machine", "delete", "--name", "net", "--force")
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	r.must("machine", "create", "--name", "a", "--from", packed(t))
	r.must("machine", "update", "--name", "a", "--mem", "128", "-e", "X=updated")
	r.must("machine", "start", "--name", "a")
	if out := r.exec("a", "echo $X"); out != "updated\n" || r.status("a")["memory_mib"] != 128.0 {
		t.Errorf("got %q, %v", out, r.status("a"))
	}
	r.fails(1, "invalid vm state: expected stopped, got running", "machine", "update", "--name", "a", "--mem", "256")
	r.fails(1, "machine 'b' not found", "machine", "update", "--name", "b", "--mem", "256")
}

func TestOtherCommands(t *testing.T) {
	t.Parallel()
	r := install(t)
	if out := r.must("--version"); out != "smolvm 1.9.2\n" {
		t.Errorf("version %q", out)
	}
	if out := r.must("machine", "egress-events", "--name", "none", "--json"); out != "[]\n" {
		t.Errorf("events %q", out)
	}
	r.fails(1, "Error: not played by the stand-in: machine images", "machine", "images", "--name", "x")
	r.fails(1, "Error: not played by the stand-in: serve start", "serve", "start")
	r.fails(2, "error: unexpected argument 'x' found", "machine", "delete", "x")
	r.fails(2, "unrecognized subcommand '_guest-init'", "_guest-init")
	r.env = []string{"SMOLVM_DATA_DIR=relative"}
	r.fails(1, "must be an absolute path", "machine", "ls")
}

func TestOldVersion(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	pack := packed(t)
	r.SetVersion("0.8.2")
	if out := r.must("--version"); out != "smolvm 0.8.2\n" {
		t.Errorf("version %q", out)
	}
	r.fails(2, "unexpected argument '--name' found", "machine", "create", "--name", "a", "--from", pack)
	r.fails(2, "unexpected argument '--label' found", "machine", "create", "a", "--label", "a=b")
	if out := r.must("machine", "create", "--help"); strings.Contains(out, "--mount-socket") || strings.Contains(out, "--label") {
		t.Errorf("help %s", out)
	}
	r.must("machine", "create", "a", "--from", pack)
	if s := r.status("a"); len(s) != 25 || s["name"] != "a" {
		t.Errorf("%d keys: %v", len(s), s)
	}
	r.must("machine", "delete", "a", "--force")
	// From one run to the next it may become another.
	r.SetVersion("1.16.0")
	if out := r.must("-V"); out != "smolvm 1.16.0\n" {
		t.Errorf("version %q", out)
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	r := install(t)
	r.env = []string{"SOME=thing"}
	r.must("machine", "ls")
	r.fails(1, "", "machine", "stop", "--name", "x")
	r.fails(2, "", "machine", "stop", "x")
	r.Fault(smolvmtest.Faults{SlowList: time.Minute})
	cmd := r.command("machine", "ls", "--json")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no fourth call", func() bool { return len(r.Calls()) == 4 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	calls := r.Calls()
	for i, want := range []smolvmtest.Call{
		{Argv: []string{"machine", "ls"}, Exit: 0},
		{Argv: []string{"machine", "stop", "--name", "x"}, Exit: 1},
		{Argv: []string{"machine", "stop", "x"}, Exit: 2},
		{Argv: []string{"machine", "ls", "--json"}, Exit: -1},
	} {
		c := calls[i]
		if !slices.Equal(c.Argv, want.Argv) || c.Exit != want.Exit || c.Pid == 0 || !slices.Contains(c.Env, "SOME=thing") || len(c.Env) != 3 {
			t.Errorf("call %d is %+v, want %+v", i, c, want)
		}
		if err := smolvmtest.Known(c.Argv); (err == nil) != (want.Exit != 2) {
			t.Errorf("%v is known: %v", c.Argv, err)
		}
	}
	for _, argv := range [][]string{{"--version"}, {"machine", "create", "--help"}} {
		if err := smolvmtest.Known(argv); err != nil {
			t.Error(err)
		}
	}
}

// When a test ends, nothing of its machines is left, also where it never stopped them.
func TestEndOfTest(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	var tool *smolvmtest.Tool
	var guests []string
	var groups []string
	t.Run("inner", func(t *testing.T) {
		r := install(t)
		tool = r.Tool
		r.machine("a", "--", "sleep", "4242")
		r.data += "2"
		r.machine("b", "--", "sleep", "4242")
		r.must("machine", "exec", "--name", "b", "-d", "sleep", "4242")
		if len(r.Running()) != 2 {
			t.Errorf("machines: %v", r.Running())
		}
		for _, pid := range r.Running() {
			children, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(pid) + "/children")
			if err != nil {
				t.Fatal(err)
			}
			guests = append(guests, strings.Fields(string(children))...)
			group, err := os.ReadFile("/proc/" + guests[len(guests)-1] + "/cgroup")
			if err != nil {
				t.Fatal(err)
			}
			if _, name, ok := strings.Cut(string(group), "/claude-bottle-fake-smolvm-"); ok {
				name, _, _ = strings.Cut(name, "\n")
				groups = append(groups, "/sys/fs/cgroup/memory/claude-bottle-fake-smolvm-"+name)
			}
		}
	})
	if len(guests) != 2 {
		t.Fatalf("guests %v", guests)
	}
	for _, pid := range guests {
		eventually(t, "guest "+pid+" lives", func() bool {
			b, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || strings.Contains(string(b), ") Z ")
		})
	}
	for _, dir := range groups {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", dir, err)
		}
	}
	if pids := tool.Running(); len(pids) > 0 {
		t.Errorf("machines: %v", pids)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	r := install(t)
	pack := packed(t)
	r.Fault(smolvmtest.Faults{DiskFull: true})
	r.fails(1, "Error: storage operation failed: create machine: No space left on device", "machine", "create", "--name", "a", "--from", pack)
	r.fails(1, "Error: storage operation failed: pack: No space left on device", "pack", "create", "--image", "127.0.0.1:1/x", "-o", filepath.Join(r.data, "x"))
	r.Fault(smolvmtest.Faults{})
	if out := r.must("machine", "ls", "--json"); out != "[]\n" {
		t.Errorf("after a full disk: %s", out)
	}
	r.must("machine", "create", "--name", "a", "--from", pack, "--", "true")

	r.Fault(smolvmtest.Faults{DBBusy: true})
	r.fails(1, "Error: database operation failed: ", "machine", "ls", "--json")
	r.Fault(smolvmtest.Faults{NoKVM: true})
	r.fails(1, "Error: agent operation failed: start machine: kvm not available: ", "machine", "start", "--name", "a")
	r.Fault(smolvmtest.Faults{StartTimeout: true})
	r.fails(1, "Error: agent operation failed: start machine: agent operation failed: wait for agent: agent did not become ready within 30 seconds", "machine", "start", "--name", "a")
	if s := r.status("a"); s["state"] != "created" || len(r.Running()) > 0 {
		t.Errorf("after failed starts: %v, processes %v", s, r.Running())
	}
	r.Fault(smolvmtest.Faults{SlowStart: 300 * time.Millisecond, SlowList: 300 * time.Millisecond})
	for _, args := range [][]string{{"machine", "start", "--name", "a"}, {"machine", "ls"}} {
		if begin := time.Now(); r.must(args...) == "" || time.Since(begin) < 300*time.Millisecond {
			t.Errorf("%v took %v", args, time.Since(begin))
		}
	}
	r.Fault(smolvmtest.Faults{Network: true})
	if s := r.status("a"); s["network"] != true {
		t.Errorf("network: %v", s)
	}
	r.Fault(smolvmtest.Faults{Unreachable: true})
	if s := r.status("a"); s["state"] != "unreachable" {
		t.Errorf("unreachable: %v", s)
	}
	r.fails(1, "Error: agent operation failed: connect: ", "machine", "exec", "--name", "a", "true")
	// A start ends what does not answer and starts it anew.
	before := r.Running()
	if out := r.must("machine", "start", "--name", "a"); !strings.Contains(out, "cleaning up") {
		t.Errorf("start says %q", out)
	}
	r.must("machine", "stop", "--name", "a")
	if pids := r.Running(); len(pids) > 0 || len(before) != 1 {
		t.Errorf("processes %v, before %v", pids, before)
	}
}
