//go:build unix

package smolvm

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps signals of the operator's terminal from the program.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
