package smolvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Stray is a machine's process that smolvm does not list: it was made to pack an image, and who asked
// for it is gone.
type Stray struct {
	Name string
	PID  int
	Dir  string // what it has on disk
}

// Prefixes of the names of machines that smolvm makes for itself; the number of the process that
// asked for one follows.
var own = []string{"pack-fromvm-", "pack-", "init-bake-"}

// bootVerb is the hidden verb of a machine's process; its argument is a file in the machine's folder.
const bootVerb = "_boot-vm"

// Strays lists them. Other data folders' are never among them.
func (t Tool) Strays(ctx context.Context) ([]Stray, error) {
	running, err := processes(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for machines of packings that broke off: %w", err)
	}
	var out []Stray
	for pid, args := range running {
		for i, a := range args {
			if a != bootVerb || i+1 >= len(args) || !strings.HasPrefix(args[i+1], t.Data+string(filepath.Separator)) {
				continue
			}
			dir := filepath.Dir(args[i+1])
			name, err := os.ReadFile(filepath.Join(dir, "name"))
			if err != nil {
				continue // it is just being made, or removed
			}
			if n := strings.TrimSpace(string(name)); forsaken(n) {
				out = append(out, Stray{Name: n, PID: pid, Dir: dir})
			}
		}
	}
	return out, nil
}

// forsaken reports whether a machine is one that smolvm made for itself, for a process that is gone.
func forsaken(name string) bool {
	for _, prefix := range own {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, "-")
		if pid, err := strconv.Atoi(number); err == nil && pid > 0 {
			return errors.Is(unix.Kill(pid, 0), unix.ESRCH)
		}
	}
	return false
}

// straysEnd bounds how long a stray may take to end.
const straysEnd = 10 * time.Second

// End ends the stray and removes what it has on disk.
func (s Stray) End(ctx context.Context) error {
	signal := unix.SIGTERM
	for end := time.Now().Add(straysEnd); ; {
		err := unix.Kill(s.PID, signal)
		if errors.Is(err, unix.ESRCH) || ended(s.PID) {
			return os.RemoveAll(s.Dir)
		}
		if err != nil {
			return fmt.Errorf("end machine %s, process %d: %w", s.Name, s.PID, err)
		}
		switch {
		case time.Now().After(end):
			return fmt.Errorf("machine %s, process %d, does not end", s.Name, s.PID)
		case time.Now().After(end.Add(-straysEnd / 2)):
			signal = unix.SIGKILL
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
