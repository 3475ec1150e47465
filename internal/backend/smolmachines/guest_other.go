//go:build !linux

package smolmachines

import (
	"fmt"
	"os"
)

// CorkMain is of use in a machine only, whose system is Linux.
func CorkMain([]string) int {
	fmt.Fprintln(os.Stderr, "cork: this command is started by claude-bottle itself, in Linux")
	return 1
}
