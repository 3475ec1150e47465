//go:build unix

package spawn

import (
	"os/exec"
	"syscall"
)

// detach gives cmd a session of its own: no controlling terminal, no SIGHUP from the old one.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }
