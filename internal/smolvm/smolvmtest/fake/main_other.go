//go:build !linux

// Command fake is a stand-in for smolvm. Its machines are Linux namespaces.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "Error: the stand-in for smolvm runs on Linux only")
	os.Exit(1)
}
