//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary has three lives: outside it builds the programs and makes the world, in the
// world it first sets it up with the rights that takes, and then runs the tests without them.
const (
	stageVar   = "CLAUDE_BOTTLE_E2E_STAGE"
	stageWorld = "world"
	stageTests = "tests"
	stageAlone = "alone" // a program in one more world, with nobody else in it
)

func TestMain(m *testing.M) {
	var code int
	var err error
	switch os.Getenv(stageVar) {
	case "":
		var skip bool
		if _, skip, err = chosenKind(); err == nil && !skip {
			code, err = outside()
		}
	case stageWorld:
		err = enterWorld()
	case stageAlone:
		err = enterAlone()
	case stageTests:
		code, err = runTests(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// Programs, as they are called in the world.
const (
	binDir   = "/tmp/bin"
	program  = binDir + "/claude-bottle"
	leaky    = binDir + "/claude-bottle-leaky"
	evilFile = binDir + "/evil"
)

// outside builds the programs into a folder that becomes the world's /tmp and runs the tests
// there.
func outside() (code int, err error) {
	runtime.LockOSThread() // the child dies with the thread that started it
	tmp, err := os.MkdirTemp("", "claude-bottle-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	inside := filepath.Join(tmp, "tmp")
	if err := errors.Join(os.Mkdir(inside, 0o755), os.Chmod(inside, 0o777|os.ModeSticky), os.Mkdir(filepath.Join(inside, "bin"), 0o755)); err != nil {
		return 1, err
	}
	if err := errors.Join(findPrograms(inside), build(filepath.Join(inside, "bin"))); err != nil {
		return 1, err
	}
	cmd, err := worldCommand(inside)
	if err != nil {
		return 1, err
	}
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// build makes the real program, its leaky twin and the attacker.
func build(dir string) error {
	var all sync.WaitGroup
	targets := [][]string{
		{"claude-bottle", "../../cmd/claude-bottle"},
		{"claude-bottle-leaky", "-tags=leaktest", "../../cmd/claude-bottle"},
		{"evil", "-ldflags=-s -w", "./evil"},
	}
	if k, _, err := chosenKind(); err == nil && k.machines {
		targets = append(targets, []string{"smolvm", "../smolvm/smolvmtest/fake"})
	}
	errs := make([]error, len(targets))
	for i, t := range targets {
		all.Go(func() {
			cmd := exec.Command("go", append([]string{"build", "-o", filepath.Join(dir, t[0])}, t[1:]...)...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				errs[i] = fmt.Errorf("build %s: %w\n%s", t[0], err, out)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// runTests is the last life: the tests themselves, and the look around after them.
func runTests(m *testing.M) (code int, err error) {
	before, err := lookAround()
	if err != nil {
		return 1, err
	}
	k, _, err := chosenKind()
	if err == nil {
		containers, err = openEngine(k)
	}
	if err != nil {
		return 1, fmt.Errorf("the engine: %w", err)
	}
	if world, err = openWorld(); err != nil {
		return 1, errors.Join(fmt.Errorf("the world outside: %w", err), containers.close())
	}
	if err = containers.warm(); err == nil {
		code = m.Run()
	}
	err = errors.Join(err, closeShared())
	err = errors.Join(err, world.verdict(), world.close(), containers.close())
	return code, errors.Join(err, before.compare())
}

// world is what is outside of all bottles.
var world *outsideWorld

// secrets nobody in a bottle may ever see (token, host) and one the agent has and that must not
// get anywhere but where a rule lets it (planted).
const (
	tokenSecret = "e2e-token-5b0f7c39d1aa4e6f"
	hostSecret  = "e2e-host-93ad17c08b2f4d55"
	planted     = "e2e-planted-7e1c44d90fb36a28"
)

// home is a CLAUDE_BOTTLE_HOME of its own, with the operator who owns it.
type home struct {
	dir     string
	user    *user // nil: who runs the tests
	program string
	env     map[string]string // added to what every operator has
}

// newHome makes a home that ends with the test, with the manifests every test wants: agent "evil"
// in bottle "attack".
func newHome(t testing.TB) *home {
	t.Helper()
	h, err := makeHome(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func makeHome(u *user) (*home, error) {
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		return nil, err
	}
	h := &home{dir: dir, user: u, program: program, env: map[string]string{}}
	err = errors.Join(h.write("agents/evil.md", "bottle: attack", "Be evil."), h.write("bottles/attack.md", attackBottle, ""),
		h.write("work/.keep", "", ""), os.Mkdir(h.path("user"), 0o700), copyFile(evilFile, h.path("work/evil")))
	return h, errors.Join(err, h.own())
}

// own gives everything in the home to its user.
func (h *home) own() error {
	if h.user == nil {
		return nil
	}
	return filepath.WalkDir(h.dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(h.user.uid), int(h.user.gid)))
	})
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

// write puts a manifest in the home; with an empty frontmatter it is the text alone.
func (h *home) write(name, frontmatter, text string) error {
	if frontmatter != "" {
		frontmatter = containers.insist(name, frontmatter)
		text = "---\n" + frontmatter + "\n---\n" + text + "\n"
	}
	path := h.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// manifest is write for a test.
func (h *home) manifest(t testing.TB, name, frontmatter string) {
	t.Helper()
	if err := h.write(name, frontmatter, "A test's."); err != nil {
		t.Fatal(err)
	}
}

func (h *home) close() error {
	r := h.call(context.Background(), "", "stop", "--all", "--grace", "0s")
	if r.code != 0 {
		return fmt.Errorf("stop what is left: %v", r)
	}
	return os.RemoveAll(h.dir)
}

// result is what a command came to.
type result struct {
	code        int
	out, errors string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.code, r.out, r.errors)
}

// callTime bounds a command of ours; nothing here takes a tenth of it.
const callTime = 2 * time.Minute

// patience ends a wait that has become hopeless. What goes well takes a fraction of it on the busiest
// machine, and how long it took is never what is tested.
const patience = 30 * time.Second

// run runs claude-bottle to its end.
func (h *home) run(t testing.TB, args ...string) result {
	t.Helper()
	return h.call(t.Context(), "", args...)
}

// call runs claude-bottle in the work folder.
func (h *home) call(ctx context.Context, stdin string, args ...string) result {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	cmd := h.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &out, &errs, strings.NewReader(stdin)
	err := cmd.Run()
	r := result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		r.errors += "\ne2e: " + err.Error()
	}
	return r
}

// command is claude-bottle as its operator types it.
func (h *home) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, h.program, args...)
	cmd.Dir = h.path("work")
	cmd.Env = h.environ()
	cmd.WaitDelay = 5 * time.Second
	if h.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: h.user.uid, Gid: h.user.gid}}
	}
	return cmd
}

// environ is the operator's environment: nothing of the machine's but PATH.
func (h *home) environ() []string {
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": h.path("user"), "CLAUDE_BOTTLE_HOME": h.dir, "CLAUDE_BOTTLE_KEYRING": "off",
		"SSL_CERT_FILE": world.caFile, "E2E_TOKEN": tokenSecret, "E2E_HOST_SECRET": hostSecret, "LANG": "C.UTF-8",
	}
	maps.Copy(env, containers.settings())
	maps.Copy(env, h.env)
	var out []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// copyFile copies a program.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// within waits until a condition holds, for so long at most.
func within(t testing.TB, d time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not so: %s", d, what)
		}
	}
}
