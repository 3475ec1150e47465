package cli

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// onTerminal gives a System whose terminal is a pty, and the keyboard and screen of it.
func onTerminal(t *testing.T) (*System, *os.File) {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		master.Close()
		tty.Close()
	})
	return &System{OpenTTY: func() (*os.File, error) { return os.OpenFile(tty.Name(), os.O_RDWR, 0) }}, master
}

// until reads the screen until it shows text.
func until(t *testing.T, screen *bufio.Reader, text string) string {
	t.Helper()
	var shown strings.Builder
	for !strings.Contains(shown.String(), text) {
		b, err := screen.ReadByte()
		if err != nil {
			t.Fatalf("the screen showed %q and then: %v", shown.String(), err)
		}
		shown.WriteByte(b)
	}
	return shown.String()
}

func TestHiddenAnswersAreNotShown(t *testing.T) {
	t.Parallel()
	sys, master := onTerminal(t)
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		v, err := sys.askHidden("token:")
		answers <- answer{v.Reveal(), err}
	}()
	screen := bufio.NewReader(master)
	until(t, screen, "token:")
	if echoes(t, master) {
		t.Error("whoever answers at once is shown the answer")
	}
	if _, err := master.WriteString("sesame-open\n"); err != nil {
		t.Fatal(err)
	}
	shown := until(t, screen, "\n")
	got := <-answers
	if got.err != nil || got.text != "sesame-open" {
		t.Errorf("answer %q, %v", got.text, got.err)
	}
	if strings.Contains(shown, "sesame") {
		t.Errorf("the screen showed the answer: %q", shown)
	}
	if !echoes(t, master) {
		t.Error("the terminal still hides what is typed")
	}
}

func TestConfirmTakesOnlyAYes(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]bool{
		"y\n": true, "Y\n": true, "yes\n": true, "YES\n": true,
		"\n": false, "n\n": false, "yeah\n": false, "Yes please\n": false, "\x04": false,
	} {
		sys, master := onTerminal(t)
		if _, err := master.WriteString(typed); err != nil {
			t.Fatal(err)
		}
		if got, err := sys.confirm("sure?"); err != nil || got != want {
			t.Errorf("%q: %v, %v", typed, got, err)
		}
	}
}

func TestNoTerminalIsAnErrorWithAWayOut(t *testing.T) {
	t.Parallel()
	sys := &System{OpenTTY: func() (*os.File, error) { return nil, os.ErrNotExist }}
	_, err := sys.confirm("sure?")
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); !ok || !strings.Contains(h.Hint(), "--yes") {
		t.Errorf("got %v", err)
	}
}
