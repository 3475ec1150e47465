// Command fake is a strict stand-in for the smolvm program: it reads its command line as smolvm 1.9.2
// does, refuses what that refuses, and runs machines that are namespaces of this host with the file
// system of their image. What it plays, and what goes wrong, is said in files beside it: see package
// setup.
//
// A machine's root is root of this host, in a file system, a network and a process table of its own. It
// is no sandbox. Run only programs in it that may be run without one.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/setup"
	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/table"
)

// A machine's init dies with the thread that started it, so that one must be the last to go.
func init() { runtime.LockOSThread() }

func main() { os.Exit(run()) }

func run() int {
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return 1
	}
	argv := os.Args[1:]
	switch {
	case len(argv) == 2 && argv[0] == "_boot-vm":
		return boot(argv[1])
	case len(argv) == 1 && argv[0] == guestWord && os.Getpid() == 1:
		return guest()
	}
	dir := filepath.Dir(exe)
	config, err := setup.Read(dir)
	if err == nil {
		err = setup.Begin(dir, argv, os.Environ())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error: the stand-in's own files:", err)
		return 1
	}
	code := status(play(&tool{exe: exe, dir: dir, Config: config}, argv))
	if err := setup.End(dir, code); err != nil {
		fmt.Fprintln(os.Stderr, "Error: the stand-in's own files:", err)
		return 1
	}
	return code
}

// tool is one run of the program.
type tool struct {
	exe, dir string
	setup.Config
	home home
}

// exit is an exit status that says everything: nothing is printed for it.
type exit int

func (e exit) Error() string { return fmt.Sprint("exit status ", int(e)) }

// status prints an error as smolvm does and turns it into an exit status.
func status(err error) int {
	var code exit
	var said *table.Exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &said) && said.Code == 0:
		fmt.Print(said.Text)
		return 0
	case errors.As(err, &said):
		fmt.Fprint(os.Stderr, said.Text)
		return said.Code
	}
	fmt.Fprintln(os.Stderr, "Error:", err)
	return 1
}

// The texts of smolvm's errors.
func configError(op string, format string, args ...any) error {
	return fmt.Errorf("config operation failed: %s: "+format, append([]any{op}, args...)...)
}

func agentError(op string, format string, args ...any) error {
	return fmt.Errorf("agent operation failed: %s: "+format, append([]any{op}, args...)...)
}

func storageError(op string, cause any) error {
	return fmt.Errorf("storage operation failed: %s: %v", op, cause)
}

func notFound(name string) error { return fmt.Errorf("vm not found: %s", name) }

func notPlayed(what string) error { return fmt.Errorf("not played by the stand-in: %s", what) }

// noSpace is a full disk's error in smolvm's words.
const noSpace = "No space left on device (os error 28)"

// reason is the cause of an error in the words of smolvm's language: "Not a directory (os error 20)".
func reason(err error) string {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return err.Error()
	}
	text := number.Error()
	return strings.ToUpper(text[:1]) + text[1:] + fmt.Sprintf(" (os error %d)", int(number))
}

// play does what a command line asks for.
func play(t *tool, argv []string) error {
	p, err := table.For(t.Version).Parse(argv)
	if err != nil {
		return err
	}
	if t.home, err = findHome(); err != nil {
		return err
	}
	if t.Faults.DBBusy && strings.HasPrefix(p.Command, "machine ") {
		return errors.New("database operation failed: open: database is locked")
	}
	if do := commands[p.Command]; do != nil {
		return do(t, p)
	}
	return notPlayed(p.Command)
}

var commands = map[string]func(*tool, *table.Parsed) error{
	"machine create":        create,
	"machine start":         start,
	"machine stop":          stop,
	"machine delete":        remove,
	"machine status":        showStatus,
	"machine ls":            list,
	"machine exec":          execute,
	"machine shell":         shell,
	"machine cp":            copyFile,
	"machine data-dir":      dataDir,
	"machine egress-events": egressEvents,
	"machine update":        update,
	"pack create":           packCreate,
	"pack prune":            packPrune,
}

// home is where machines are kept.
type home string

// findHome takes smolvm's data folder from the environment.
func findHome() (home, error) {
	dir := os.Getenv("SMOLVM_DATA_DIR")
	if dir == "" {
		if dir = os.Getenv("HOME"); dir == "" {
			return "", configError("data directory", "neither SMOLVM_DATA_DIR nor HOME is set")
		}
		return home(dir), nil
	}
	if !filepath.IsAbs(dir) {
		return "", configError("SMOLVM_DATA_DIR", "must be an absolute path, got '%s'", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", configError("SMOLVM_DATA_DIR", "%s", reason(err))
	}
	// Each machine of a root's smolvm has a user of its own, who must get through.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", configError("SMOLVM_DATA_DIR", "%s", reason(err))
	}
	return home(dir), nil
}

func (h home) vms() string { return filepath.Join(string(h), ".cache/smolvm/vms") }

func (h home) shared() string { return filepath.Join(h.vms(), "_shared") }

func (h home) server() string { return filepath.Join(string(h), ".local/share/smolvm/server") }

// vm is a machine's folder.
func (h home) vm(name string) string { return filepath.Join(h.vms(), hash(name)) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// confirm reads a line of the operator's; the end of input is a no.
func confirm() bool {
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}
