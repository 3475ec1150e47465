package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/claude-bottle/claude-bottle/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"claude-bottle": func() { os.Exit(cli.Main(os.Args[1:], cli.OS())) },
	})
}

// The scripts run the real program, main to exit code, each in a home folder of its own. "exits N
// command..." is exec that checks the exit code.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("CLAUDE_BOTTLE_KEYRING", "off")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every process waits a second at its end
			return os.MkdirAll(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"ids":     ids,
			"private": private,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		status, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = status.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

var idSuffix = regexp.MustCompile(`\b([a-z][a-z0-9-]*)-[0-9a-z]{5}\b`)

// private makes a tree of state folders what the program makes them: the owner's alone.
func private(ts *testscript.TestScript, _ bool, args []string) {
	for _, root := range args {
		ts.Check(filepath.WalkDir(ts.MkAbs(root), func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			return os.Chmod(path, 0o700)
		}))
	}
}

// ids sets the variable ID to the first bottle ID in the last command's standard output.
func ids(ts *testscript.TestScript, _ bool, _ []string) {
	id := idSuffix.FindString(ts.ReadFile("stdout"))
	if id == "" {
		ts.Fatalf("no bottle ID in the output")
	}
	ts.Setenv("ID", id)
}
