//go:build linux

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// person sits at a terminal of their own, which is a tmux server with one window and a shell in it.
type person struct {
	t      testing.TB
	home   *home
	socket string
}

// sit starts a terminal that ends with the test.
func (h *home) sit(t testing.TB, cols, rows int) *person {
	t.Helper()
	dir, err := os.MkdirTemp(h.dir, "tmux")
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t, h, filepath.Join(dir, "s")}
	t.Cleanup(func() {
		if p.server() != 0 {
			p.tmux("kill-server")
		}
	})
	// The prompt is one that nothing else writes.
	cmd := p.command("new-session", "-d", "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows), "env PS1='at-home> ' bash --norc --noprofile")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v\n%s", err, out)
	}
	p.tmux("set", "-g", "status", "off")
	p.sees("at-home>")
	return p
}

func (p *person) command(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-S", p.socket, "-f", "/dev/null"}, args...)...)
	cmd.Env = append(p.home.environ(), "TERM=xterm-256color", "PATH="+filepath.Dir(p.home.program)+":"+p.home.searchPath(), "HISTFILE=")
	cmd.Dir = p.home.path("work")
	return cmd
}

func (h *home) searchPath() string {
	if path, ok := h.env["PATH"]; ok {
		return path
	}
	return os.Getenv("PATH")
}

func (p *person) tmux(args ...string) string {
	p.t.Helper()
	out, err := p.command(args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// server is the process id of the terminal itself; 0 when it is gone.
func (p *person) server() int {
	out, err := p.command("display-message", "-p", "#{pid}").Output()
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(out))) // tmux prints a number
	return pid
}

// shell is the process id of the shell.
func (p *person) shell() int {
	p.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(p.tmux("display-message", "-p", "#{pane_pid}")))
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

// says types text and the enter key.
func (p *person) says(text string) {
	p.t.Helper()
	p.tmux("send-keys", "-l", text)
	words := strings.Fields(text)
	p.sees(words[len(words)-1])
	time.Sleep(hesitation)
	p.presses("Enter")
}

// tells gives the shell a command on an empty screen: what is seen from then on, the command shows.
func (p *person) tells(command string) {
	p.t.Helper()
	p.says("clear")
	p.until("it is empty", func(screen string) bool { return strings.TrimSpace(screen) == "at-home>" })
	p.says(command)
}

// types is says where nothing shows what is typed.
func (p *person) types(text string) {
	p.t.Helper()
	p.tmux("send-keys", "-l", text)
	p.presses("Enter")
}

// hesitation is between a person's last letter and their enter key. Codex takes an enter that comes
// sooner for a part of pasted text.
const hesitation = 150 * time.Millisecond

// presses presses keys by tmux's names for them.
func (p *person) presses(keys ...string) {
	p.t.Helper()
	p.tmux(append([]string{"send-keys"}, keys...)...)
}

// insists does something again and again until what answers it shows: the answer may be there for a moment
// only, which a busy machine misses, or may need what is still on its way, as a new size is.
func (p *person) insists(does func(), text string) {
	p.t.Helper()
	last := time.Time{}
	p.until("it shows "+strconv.Quote(text), func(screen string) bool {
		if strings.Contains(screen, text) {
			return true
		}
		if time.Since(last) > 2*time.Second {
			does()
			last = time.Now()
		}
		return false
	})
}

func (p *person) resize(cols, rows int) {
	p.t.Helper()
	p.tmux("resize-window", "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows))
}

// screen is what is to be seen, without what is blank at the ends of lines and below.
func (p *person) screen() string {
	p.t.Helper()
	return p.tmux("capture-pane", "-p")
}

// sightTime bounds how long something takes to appear. A real agent takes a second or two to start, a machine
// whose image is still to be built and packed much longer, where there is much else to do.
const sightTime = 2 * time.Minute

// sees waits until the screen shows all the texts.
func (p *person) sees(texts ...string) {
	p.t.Helper()
	p.until("it shows "+strconv.Quote(strings.Join(texts, `", "`)), func(screen string) bool {
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				return false
			}
		}
		return true
	})
}

// until waits until the screen is as it should be.
func (p *person) until(what string, holds func(screen string) bool) {
	p.t.Helper()
	var screen string
	for end := time.Now().Add(sightTime); ; time.Sleep(20 * time.Millisecond) {
		if screen = p.screen(); holds(screen) {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("the terminal never came to that %s; it shows\n%s", what, screen)
		}
	}
}
