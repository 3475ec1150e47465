package smolvm

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// processes are all there are, with their arguments.
func processes(context.Context) (map[int][]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	out := map[int][]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(line) == 0 {
			continue // it has ended, or is the kernel's
		}
		out[pid] = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	}
	return out, nil
}

// ended reports whether a process has ended and only waits to be reaped.
func ended(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return os.IsNotExist(err)
	}
	_, rest, ok := bytes.Cut(b, []byte(") "))
	return ok && bytes.HasPrefix(rest, []byte("Z"))
}
