//go:build !linux

package smolvm

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
)

// processes are all there are, with their arguments as far as these have no spaces.
func processes(ctx context.Context) (map[int][]string, error) {
	text, err := exec.CommandContext(ctx, "/bin/ps", "-axww", "-o", "pid=,args=").Output()
	if err != nil {
		return nil, err
	}
	out := map[int][]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if pid, err := strconv.Atoi(words[0]); err == nil {
			out[pid] = words[1:]
		}
	}
	return out, nil
}

// ended is for where /proc tells; elsewhere a process that only waits to be reaped counts as there.
func ended(int) bool { return false }
