//go:build linux

package e2e_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/selftest"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// leakVar is what the leaky build reads and no other does.
const leakVar = "CLAUDE_BOTTLE_LEAK"

// hole is a deliberate leak.
type hole struct {
	leak string // as the variable takes it; "@home" and "@socket" stand for what the test lays out
	// probes must be among those that the refusal names.
	probes []string
	// asUser are such where the operator is an ordinary user, so that agent and operator are one.
	asUser []string
	// perKernel see it where this kernel has the thing and lets everybody use it.
	perKernel []string
	// unseen says why no probe can tell, where the bottle is as tight without what the hole leaves
	// out. The launch goes on, then.
	unseen string
}

// network are the probes of the ways out, which fail together: behind them is one mechanism.
var network = []string{
	"direct-ip4", "direct-ip6", "direct-ports", "private-net", "metadata-ip4", "metadata-ip6", "host-network", "host-header", "dns-tcp", "dns-over-tls",
}

// filtered are the probes of what nothing but the filter keeps from everybody.
var filtered = []string{"seccomp", "namespaces", "user-namespace", "tty-inject", "keyring", "ptrace", "netlink-socket"}

var perKernel = []string{"vsock-socket", "kernel-socket", "icmp-socket", "io-uring", "userfaultfd", "perf", "bpf"}

var holes = []hole{
	{leak: "net", probes: slices.Concat(network, []string{"host-loopback", "interfaces", "dns-udp", "dns-resolver", "dns-subtree", "quic", "udp", "abstract-sockets"})},
	{leak: "no-any", probes: network},
	{leak: "no-pidns", probes: []string{"host-processes"}},
	{leak: "uid0", probes: []string{"identity", "pid1-hidden", "set-uid"}},
	{leak: "caps", probes: []string{"capabilities"}},
	{leak: "no-nnp", probes: append([]string{"no-new-privs"}, filtered...), asUser: []string{"pid1-signal"}, perKernel: perKernel},
	{leak: "no-seccomp", probes: filtered, perKernel: perKernel},
	{leak: "no-seccomp,caps,uid0,no-nnp,no-landlock", probes: append([]string{"identity", "capabilities", "no-new-privs", "pid1-signal"}, filtered...), perKernel: perKernel},
	{leak: "no-rlimits", probes: []string{"limits"}},
	{leak: "no-landlock", unseen: "Landlock is the second layer behind mounts and seccomp, which stop everything it would"},
	{leak: "host-root", probes: []string{"host-files"}},
	{leak: "show=@home", probes: []string{"host-files"}, asUser: []string{"host-unix"}},
	{leak: "home-visible=@home", probes: []string{"host-files"}, asUser: []string{"host-unix"}},
	{leak: "show=/dev/kmsg", probes: []string{"devices"}},
	{leak: "docker-sock=@socket", probes: []string{"engine-sockets"}},
	{leak: "root-writable", probes: []string{"root-readonly"}},
	{leak: "sys-writable", probes: []string{"sys-readonly"}},
	{leak: "proc-unmasked", probes: []string{"proc-sys", "proc-masked"}},
}

// unprovoked are the probes that no hole makes fail, and why there is none. Those of the engine are
// provoked one level down, in the probes' own tests.
var unprovoked = map[string]string{
	"proxy-http":     "what the proxy refuses is the policy's to say, and there is no hole in a decision",
	"proxy-connect":  "as proxy-http",
	"proxy-socks5":   "as proxy-http",
	"proxy-to-host":  "as proxy-http",
	"proxy-metadata": "as proxy-http",
	"raw-socket":     "takes a capability that cork itself gave up before the agent was there, so that leaving out the confinement opens nothing",
	"packet-socket":  "as raw-socket",
	"kernel-load":    "as raw-socket, and over the host at that",
	"kernel-log":     "as kernel-load",
	"file-handles":   "as kernel-load",
	"mount":          "as raw-socket",
}

// holeNames are the holes of the table by the names the leaky build knows.
func holeNames() []string {
	names := map[string]bool{}
	for _, h := range holes {
		for one := range strings.SplitSeq(h.leak, ",") {
			name, _, _ := strings.Cut(one, "=")
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Every hole the leaky build can open is refused before the agent runs, with exit code 4 and the
// probe's name. The agent would leave a mark; there must be none.
func TestLeaksAreRefused(t *testing.T) {
	onlyNative(t, "the leaky build opens holes in what cork and the native driver make, and it is the engine that makes a container")
	if known := knownHoles(t); !slices.Equal(known, holeNames()) {
		t.Errorf("the leaky build knows the holes\n%v\nand this test\n%v", known, holeNames())
	}
	leaks(t, newHome(t))
}

func leaks(t *testing.T, h *home) {
	t.Cleanup(world.c2.forget) // bottles made to leak reach it
	h = h.leaky()
	h.manifest(t, "bottles/mark.md", "agent_provider: {template: shell, command: [/bin/sh, -c, 'echo THE AGENT RAN; touch /workspace/mark', sh]}")
	if err := os.Chmod(h.dir, 0o755); err != nil { // so that root's bottles, who are nobody, could be shown it
		t.Fatal(err)
	}
	for _, hole := range holes {
		name, _, _ := strings.Cut(hole.leak, "@")
		t.Run(name, func(t *testing.T) { opened(t, h, hole) })
	}
	t.Run("benign twin", func(t *testing.T) {
		h.env[leakVar] = ""
		if r := h.run(t, "run", "evil", "--bottle", "mark", "--prompt", "x"); r.code != 0 || !h.ran(r) {
			t.Errorf("the leaky build without a leak: %v", r)
		}
	})
}

// leaky is the same operator with the leaky build.
func (h *home) leaky() *home {
	l := *h
	l.program, l.env = leaky, map[string]string{}
	return &l
}

// opened starts a bottle with one hole.
func opened(t *testing.T, h *home, hole hole) {
	h.env[leakVar] = strings.NewReplacer("@home", h.dir, "@socket", openSocket(t)).Replace(hole.leak)
	cmd := h.command(t.Context(), "run", "evil", "--bottle", "mark", "--prompt", "x")
	if hole.leak == "net" {
		if h.user != nil {
			return // root's bottle showed it, and only root can put another user in one more world
		}
		alone(cmd) // it takes its ports where all other worlds have theirs
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code tells
	r := result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	failed := h.failedProbes(t, r)
	switch {
	case hole.unseen != "":
		if r.code != 0 || len(failed) > 0 {
			t.Errorf("a probe sees it after all, so it belongs in the table: %v: %v", failed, r)
		}
	case h.ran(r):
		t.Errorf("the agent ran: %v", r)
	case r.code != 4:
		t.Errorf("not refused as a leak: %v", r)
	}
	if h.user != nil || os.Geteuid() != 0 {
		hole.probes = append(slices.Clone(hole.probes), hole.asUser...)
	}
	for _, probe := range hole.probes {
		if !slices.Contains(failed, probe) || !strings.Contains(r.errors, probe) {
			t.Errorf("%s does not see it; these do: %v: %v", probe, failed, r)
		}
	}
	t.Logf("seen by %v", failed)
}

// state is the path of a file of the bottle that a run started; its name is the first thing said.
func (h *home) state(r result, name string) string {
	id, _, _ := strings.Cut(r.errors, ":")
	return h.path(filepath.Join("state", id, name))
}

// ran reports whether the agent did anything.
func (h *home) ran(r result) bool {
	_, err := os.Lstat(h.state(r, "workspace/mark"))
	return err == nil || strings.Contains(r.out, "THE AGENT RAN")
}

// failedProbes reads the recorded self-test of a run for what did not pass.
func (h *home) failedProbes(t *testing.T, r result) (names []string) {
	t.Helper()
	raw, err := os.ReadFile(h.state(r, state.SelfTestFile))
	if err != nil {
		t.Errorf("no record of the self-test: %v: %v", err, r)
		return nil
	}
	var record selftest.Record
	if err := json.Unmarshal(raw, &record); err != nil {
		t.Fatal(err)
	}
	for _, p := range record.Results {
		if !p.OK {
			names = append(names, p.Name)
		}
	}
	return names
}

// openSocket is a socket anybody may use, as an engine's is when it is shared.
func openSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for path, mode := range map[string]os.FileMode{dir: 0o755, path: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// The program as it is shipped has no holes to open: the variable changes nothing, and is not even
// known by name.
func TestShippedProgramIgnoresLeaks(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.env[leakVar] = strings.Join(holeNames(), ",")
	b := h.bottle(t)
	benign(t, b)
	literals(t, b)
	unprivileged(t, evil[map[string]string](t, b, "who"))
	for name, want := range map[string]bool{program: false, leaky: true} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(raw), leakVar); got != want {
			t.Errorf("%s holds the variable's name: %v", name, got)
		}
	}
}

// Every probe there is is caught out by a hole, or the table says why not.
func TestEveryProbeHasALeak(t *testing.T) {
	t.Parallel()
	caught := map[string]bool{}
	for _, h := range holes {
		for _, p := range slices.Concat(h.probes, h.asUser, h.perKernel) {
			caught[p] = true
		}
	}
	names := selftest.Names()
	for _, name := range names {
		if _, excused := unprovoked[name]; caught[name] == excused {
			t.Errorf("the probe %s: provoked by a leak: %v, excused from it: %v", name, caught[name], excused)
		}
	}
	for name := range maps.Keys(unprovoked) {
		if !slices.Contains(names, name) {
			t.Errorf("%s is excused and no probe", name)
		}
	}
	for name := range caught {
		if !slices.Contains(names, name) {
			t.Errorf("%s is to be provoked and no probe", name)
		}
	}
}

// knownHoles reads the names of the holes out of the source that has them.
func knownHoles(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	literal := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil && s != "" {
				found[s] = true
			}
		}
	}
	for _, root := range []string{"../backend", "../cork"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				holesOf(n, literal)
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// holesOf finds the names in leak.On("x"), in loops over names that are given to it, and in tables
// whose column is called hole or holes.
func holesOf(n ast.Node, literal func(ast.Expr)) {
	switch n := n.(type) {
	case *ast.CallExpr:
		if asksLeak(n) {
			literal(n.Args[0])
		}
	case *ast.RangeStmt:
		if l, ok := n.X.(*ast.CompositeLit); ok && callsLeak(n.Body) {
			for _, e := range l.Elts {
				literal(e)
			}
		}
	case *ast.CompositeLit:
		at := holeColumn(n)
		for _, row := range n.Elts {
			r, ok := row.(*ast.CompositeLit)
			if !ok || at < 0 || at >= len(r.Elts) {
				continue
			}
			literal(r.Elts[at])
			if l, ok := r.Elts[at].(*ast.CompositeLit); ok {
				for _, e := range l.Elts {
					literal(e)
				}
			}
		}
	}
}

// asksLeak reports whether n is a call of leak.On or leak.Value.
func asksLeak(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return false
	}
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	p, ok := s.X.(*ast.Ident)
	return ok && p.Name == "leak"
}

func callsLeak(n ast.Node) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		found = found || asksLeak(n)
		return true
	})
	return found
}

// holeColumn is which field of a table's rows names holes, -1 when none does.
func holeColumn(l *ast.CompositeLit) int {
	array, ok := l.Type.(*ast.ArrayType)
	if !ok {
		return -1
	}
	row, ok := array.Elt.(*ast.StructType)
	if !ok {
		return -1
	}
	at := 0
	for _, f := range row.Fields.List {
		for _, name := range f.Names {
			if name.Name == "hole" || name.Name == "holes" {
				return at
			}
			at++
		}
	}
	return -1
}
