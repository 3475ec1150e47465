package session

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/session/cast"
)

func textOf(t *testing.T, tty bool, argv ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "session.cast")
	w, err := cast.Create(path, cast.Options{Rows: 10, Cols: 40, TTY: tty})
	if err != nil {
		t.Fatal(err)
	}
	var p Process
	if tty {
		p = ptyProcess(t, 10, 40, argv...)
	} else {
		p = pipeProcess(t, argv...)
	}
	_, wait := run(t, Config{TTY: tty, Rows: 10, Cols: 40, Cast: w}, p)
	wait()
	var b strings.Builder
	if err := WriteText(&b, path); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRecordingAsText(t *testing.T) {
	t.Parallel()
	got := textOf(t, true, "bash", "-c", `seq 1 30; printf '\e[31mred\e[0m \e]52;c;x\a\e[5;5Hmoved'`)
	lines := strings.Split(got, "\n")
	if lines[0] != "1" || !strings.Contains(got, "29\n30\n") || !strings.Contains(got, "moved") || !strings.Contains(got, "red") || strings.ContainsRune(got, 0x1b) {
		t.Errorf("got %q", got)
	}
	got = textOf(t, false, "bash", "-c", `printf 'a\tb\e[1mc\e[0m\n\e]52;c;x\alast'; echo err >&2`)
	if !strings.Contains(got, "a        bc\n") || !strings.Contains(got, "last") || !strings.Contains(got, "err") || strings.ContainsRune(got, 0x1b) {
		t.Errorf("got %q", got)
	}
	if err := WriteText(nil, filepath.Join(t.TempDir(), "none")); err == nil || errors.Is(err, nil) {
		t.Error("no recording is no error")
	}
}
