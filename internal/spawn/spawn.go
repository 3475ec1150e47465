// Package spawn starts our own program again as a helper process: hidden verbs, files handed over
// by name instead of by number, and the clean-up stack for whoever builds something in steps.
package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// filesFlag tells the helper which descriptor is which: "--files=boot:3,ready:4".
const filesFlag = "--files="

// Helper describes a hidden verb to start.
type Helper struct {
	Executable string // our own binary
	Verb       string // "warden"
	Dir        string // working folder; "/" keeps no file system busy
	Env        []string
	Log        *os.File // stdout and stderr; nil is /dev/null
	files      []donation
}

type donation struct {
	name string
	file *os.File
}

// Donate hands f to the helper under name. The caller keeps its own copy and closes it after
// Start.
func (h *Helper) Donate(name string, f *os.File) {
	h.files = append(h.files, donation{name, f})
}

// Start starts the helper detached: its own session, no terminal, so that closing the operator's
// terminal does not reach it. The caller need not wait for it; Start does so in the background
// only to keep the process table clean while the caller lives.
func (h *Helper) Start() (pid int, err error) {
	names := make([]string, len(h.files))
	cmd := exec.Command(h.Executable, h.Verb)
	for i, d := range h.files {
		names[i] = d.name + ":" + strconv.Itoa(3+i)
		cmd.ExtraFiles = append(cmd.ExtraFiles, d.file)
	}
	cmd.Args = append(cmd.Args, filesFlag+strings.Join(names, ","))
	cmd.Dir, cmd.Env = h.Dir, h.Env
	if h.Log != nil {
		cmd.Stdout, cmd.Stderr = h.Log, h.Log
	}
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start our own %s helper: %w", h.Verb, err)
	}
	go func() { _ = cmd.Wait() }() // how it ended is told by the state folder, not by its exit code
	return cmd.Process.Pid, nil
}

// Files are the donated files, as the helper sees them.
type Files map[string]*os.File

// Received reads the helper's arguments and returns the donated files by name.
func Received(args []string) (Files, error) {
	files := Files{}
	for _, a := range args {
		list, ok := strings.CutPrefix(a, filesFlag)
		if !ok {
			return nil, fmt.Errorf("unexpected argument %q", a)
		}
		for item := range strings.SplitSeq(list, ",") {
			name, num, ok := strings.Cut(item, ":")
			fd, err := strconv.Atoi(num)
			if !ok || err != nil || fd < 3 {
				return nil, fmt.Errorf("bad file description %q", item)
			}
			f := os.NewFile(uintptr(fd), name)
			if _, err := f.Stat(); err != nil {
				return nil, fmt.Errorf("file %q was not handed over: %w", name, err)
			}
			closeOnExec(fd)
			files[name] = f
		}
	}
	return files, nil
}

// Take returns the named file, or an error that says it is missing.
func (f Files) Take(name string) (*os.File, error) {
	if file, ok := f[name]; ok {
		return file, nil
	}
	return nil, fmt.Errorf("this helper is started by claude-bottle itself, with a file named %q", name)
}
