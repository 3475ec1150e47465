package smolvm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// Variables of the operator's.
const (
	// ProgramVariable names the smolvm program to use.
	ProgramVariable = "CLAUDE_BOTTLE_SMOLVM"
	// DataVariable names the folder for its machines.
	DataVariable = "CLAUDE_BOTTLE_SMOLVM_DATA"
)

// Tool is a smolvm program with a data folder of ours. Its methods are safe for concurrent use, the
// program's own state is too.
type Tool struct {
	// Path is the program's, absolute.
	Path string
	// Data is the folder of its machines. Nobody else's are in it, so that the operator's own are
	// never seen or touched. It is short: paths of sockets go through it.
	Data string
	// Insisted says that the operator named the program.
	Insisted bool
	// rootfs is the system of smolvm's own agent, where an installation keeps it in the home folder.
	rootfs string
}

// ErrNotInstalled is what Find returns when there is no smolvm.
var ErrNotInstalled = errors.New("smolvm is not installed")

// Find returns the smolvm of this host: the one that CLAUDE_BOTTLE_SMOLVM names, or the first in PATH,
// or where its installer puts it. It reads files only; home is the operator's home folder.
func Find(lookup func(string) (string, bool), home string) (Tool, error) {
	value := func(name string) string { v, _ := lookup(name); return v }
	t := Tool{Data: value(DataVariable)}
	if t.Data == "" {
		base := value("XDG_DATA_HOME")
		if !filepath.IsAbs(base) {
			base = filepath.Join(home, ".local", "share")
		}
		t.Data = filepath.Join(base, "claude-bottle", "smolvm")
	}
	if !filepath.IsAbs(t.Data) {
		return Tool{}, &Error{Why: fmt.Sprintf("%s is %q, which is no absolute path", DataVariable, t.Data), Fix: "export " + DataVariable + "=/absolute/path"}
	}
	if dir := filepath.Join(home, ".local", "share", "smolvm", "agent-rootfs"); home != "" && isFolder(dir) {
		t.rootfs = dir
	}
	if named := value(ProgramVariable); named != "" {
		if !filepath.IsAbs(named) || !isProgram(named) {
			return Tool{}, &Error{Why: fmt.Sprintf("%s names %s, which is no program by an absolute path", ProgramVariable, inert.Text(named, 200)), Fix: "export " + ProgramVariable + "=/path/of/smolvm, or unset it"}
		}
		t.Path, t.Insisted = named, true
		return t, nil
	}
	dirs := append(filepath.SplitList(value("PATH")), filepath.Join(home, ".smolvm"), filepath.Join(home, ".local", "bin"))
	for _, dir := range dirs {
		if path := filepath.Join(dir, "smolvm"); filepath.IsAbs(path) && isProgram(path) {
			t.Path = path
			return t, nil
		}
	}
	return t, ErrNotInstalled
}

func isFolder(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

func isProgram(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0
}

// environment is all the program gets: nothing of the operator's, so that no proxy, no setting and no
// secret of theirs has any effect. What smolvm calls home is the data folder.
func (t Tool) environment() []string {
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/bin", "LANG=C.UTF-8",
		"HOME=" + t.Data, "SMOLVM_DATA_DIR=" + t.Data,
		// Off by default for machines that its command line starts.
		"SMOLVM_SECCOMP=enforce", "SMOLVM_LANDLOCK=enforce",
		// Should a machine ever have a network: no loopback, private or metadata address of the host.
		"SMOLVM_EGRESS_FLOOR=strict",
	}
	if t.rootfs != "" {
		env = append(env, "SMOLVM_AGENT_ROOTFS="+t.rootfs)
	}
	return env
}

// Command is the program with args, to be started by the caller. Its standard input is empty; when ctx
// ends it is killed, and it alone: a machine's process has a group of its own.
func (t Tool) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.Path, args...)
	cmd.Env, cmd.Dir = t.environment(), "/"
	cmd.WaitDelay = time.Second // what it started may hold its output open
	ownGroup(cmd)
	return cmd
}

// maxOutput bounds what is read of the program's output, in bytes.
const maxOutput = 16 << 20

// run runs the program to its end and returns what it printed.
func (t Tool) run(ctx context.Context, limit time.Duration, args ...string) ([]byte, error) {
	if err := os.MkdirAll(t.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder of smolvm: %w", err)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	cmd := t.Command(bounded, args...)
	out, words := &head{left: maxOutput}, &head{left: 64 << 10}
	cmd.Stdout, cmd.Stderr = out, words
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case bounded.Err() != nil:
		return nil, &Error{Why: fmt.Sprintf("smolvm %s did not end within %v", verb(args), limit), Fix: "is it hanging? Try it by hand: " + t.byHand(args)}
	case err != nil:
		return nil, t.explain(args, words.String(), err)
	}
	return out.Bytes(), nil
}

var errSlow = errors.New("no answer in time")

// head keeps the beginning of what is written to it.
type head struct {
	bytes.Buffer
	left int
}

func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), h.left)
	h.left -= n
	_, _ = h.Buffer.Write(p[:n]) // never fails
	return len(p), nil
}

var _ io.Writer = (*head)(nil)

// verb is what args ask for: "machine create".
func verb(args []string) string {
	n := 0
	for n < len(args) && n < 2 && !strings.HasPrefix(args[n], "-") {
		n++
	}
	return strings.Join(args[:n], " ")
}

// byHand is how the operator asks the same.
func (t Tool) byHand(args []string) string {
	text := "SMOLVM_DATA_DIR=" + t.Data + " " + t.Path
	if v := verb(args); v != "" {
		text += " " + v
	}
	return text + " --help"
}

// KVM is what a host that isn't able to boot a guest lacks, in words, and what to do; both are empty
// when nothing is known to be missing. certain is false where a guest might boot nevertheless. It
// reads files only.
func KVM() (why, fix string, certain bool) {
	if runtime.GOOS != "linux" {
		return "", "", false
	}
	return kvm("/dev/kvm", "/sys/module", runtime.GOARCH)
}

func kvm(device, modules, arch string) (why, fix string, certain bool) {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "this host has no /dev/kvm", "enable virtualization in the firmware, or nested virtualization where this host is itself a virtual machine", true
	case errors.Is(err, os.ErrPermission):
		return "/dev/kvm is not for this user", "sudo usermod -aG kvm $USER, then log in again", true
	case err != nil:
		return "/dev/kvm can't be opened: " + err.Error(), "is the kvm module loaded? Try: sudo modprobe kvm_intel || sudo modprobe kvm_amd", true
	}
	_ = f.Close() // nothing was done with it
	// A paravirtual /dev/kvm opens and boots nothing. Only where it is the processor's own does a
	// module of the processor's stand behind it; on arm64 it is part of the kernel.
	if arch == "amd64" && !isFolder(filepath.Join(modules, "kvm_intel")) && !isFolder(filepath.Join(modules, "kvm_amd")) {
		return "/dev/kvm opens, but neither kvm_intel nor kvm_amd stands behind it: this host may be unable to boot a guest", "try it: smolvm machine run -- true", false
	}
	return "", "", false
}
