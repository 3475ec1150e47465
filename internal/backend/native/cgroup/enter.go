//go:build linux

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// Enter calls start in such a way that a process it starts is born in the group. unified is an
// open folder to start it in by clone3 (syscall.SysProcAttr.CgroupFD), nil when there is no
// version 2 group; it is closed afterwards. Version 1 groups need nothing: start runs on a thread
// that is in them, and that ends with it.
//
// Being born there is what makes it cheap: to move a process that lives, the kernel stops every
// fork and exit on the host, for milliseconds each time. A thread that moves itself stops nobody.
func (g *Group) Enter(start func(unified *os.File) error) error {
	var unified *os.File
	if g.v2 != "" {
		var err error
		if unified, err = os.Open(g.v2); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
		defer unified.Close() // a folder, only named by it
	}
	done := make(chan error)
	go spawn.OnOwnThread(func() {
		for _, dir := range g.dirs {
			if dir == g.v2 {
				continue
			}
			if err := write(filepath.Join(dir, "tasks"), "0"); err != nil { // the calling thread
				done <- fmt.Errorf("join control group: %w", err)
				return
			}
		}
		done <- start(unified)
	})
	return <-done
}
