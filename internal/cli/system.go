package cli

import (
	"os"

	"golang.org/x/term"
)

// System is what the commands see of the operating system. Nothing else in this program's code
// reads the environment, the arguments or the terminal.
type System struct {
	// Stdin, Stdout and Stderr are files because a terminal among them is lent to the agent.
	Stdin, Stdout, Stderr *os.File
	// LookupEnv returns a variable of the operator's environment and whether it is set.
	LookupEnv func(name string) (string, bool)
	// WorkDir and HomeDir return absolute folders.
	WorkDir func() (string, error)
	HomeDir func() (string, error)
	// Executable returns the path of our own program, which is started again as a helper.
	Executable func() (string, error)
	// OpenTTY opens the operator's terminal for questions and answers, whatever standard input and
	// output are. The caller closes it.
	OpenTTY func() (*os.File, error)
}

// OS returns the real System.
func OS() *System {
	return &System{
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		LookupEnv:  os.LookupEnv,
		WorkDir:    os.Getwd,
		HomeDir:    os.UserHomeDir,
		Executable: os.Executable,
		OpenTTY:    func() (*os.File, error) { return os.OpenFile("/dev/tty", os.O_RDWR, 0) },
	}
}

// getenv is LookupEnv for variables where unset and empty mean the same.
func (s *System) getenv(name string) string {
	v, _ := s.LookupEnv(name)
	return v
}

// isTerminal reports whether f is a terminal.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
