package cli

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// echoes reports whether the terminal shows what is typed.
func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	flags, err := unix.IoctlGetTermios(int(f.Fd()), unix.TIOCGETA)
	if err != nil {
		t.Fatal(err)
	}
	return flags.Lflag&unix.ECHO != 0
}
