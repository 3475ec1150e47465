// Command claude-bottle runs coding agents sealed in bottles: see package cli for its verbs.
package main

import (
	"os"

	"github.com/claude-bottle/claude-bottle/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], cli.OS())) }
