// Package cli is the command line: one file a verb, each turning flags into options, making one
// call and printing what comes back. It is the edge of the program: nothing below it writes to the
// terminal, reads the environment or the arguments, or ends the process, and Main alone turns an
// error into words and an exit code.
//
//	func main() { os.Exit(cli.Main(os.Args[1:], cli.OS())) }
//
// Rules for words: lower case and no full stop in errors; results go to standard output, everything
// said about the work to standard error, questions to the terminal itself; every error that has a
// way out carries it as a hint; text an agent may have written is made inert first.
package cli

import "context"

// Main runs the command that args name and returns the process's exit code.
//
// The helper verbs are dispatched first and never reach the flag parser: they are started with
// every bottle, by ourselves, and must cost nothing.
func Main(args []string, sys *System) int {
	if len(args) > 0 {
		if help := helper(args[0]); help != nil {
			return help(args[1:])
		}
	}
	a := &app{sys: sys}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(sys.Stdin)
	root.SetOut(sys.Stdout)
	root.SetErr(sys.Stderr)
	err := root.ExecuteContext(context.Background())
	if err != nil {
		printError(sys.Stderr, err)
	}
	return exitCode(err)
}
