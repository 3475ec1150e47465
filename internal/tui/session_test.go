package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

// talker is a warden whose session says something and then echoes.
type talker struct {
	keeper
	says  string
	heard chan string
}

func (k talker) Attach(ctx context.Context, o client.AttachOptions) (client.Result, error) {
	if _, err := io.WriteString(o.Stdout, k.says); err != nil {
		return client.Result{}, err
	}
	go func() {
		buf := make([]byte, 100)
		for {
			n, err := o.Stdin.Read(buf)
			if err != nil {
				return
			}
			k.heard <- string(buf[:n])
		}
	}()
	<-ctx.Done()
	_ = o.Stdin.(io.Closer).Close() // never fails
	return client.Result{}, context.Cause(ctx)
}

// talking is a world with one bottle that talks.
type talking struct {
	*world
	bottle talker
}

func (t talking) Warden(state.Entry) Warden { return t.bottle }

func TestASessionInHereIsATerminal(t *testing.T) {
	t.Parallel()
	var says strings.Builder
	for i := range 100 {
		fmt.Fprintf(&says, "line %d\r\n", i)
	}
	says.WriteString("\x1b]0;title\x07\x1b[31mready\x1b[0m> ")
	w := scene(t)
	h := talking{w, talker{keeper{w, w.entries[2]}, says.String(), make(chan string, 10)}}
	m := newModel(t.Context(), h, Options{})
	m.now = shown(t, w, 10, 10).now
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	m.Update(m.list()())
	seen := make(chan struct{}, 100)
	m.send = func(tea.Msg) {
		select {
		case seen <- struct{}{}:
		default:
		}
	}
	press(m, "tab")
	if m.session() == nil || m.focus != onSession {
		t.Fatalf("there is no session: %s", m.notice)
	}
	<-seen // it was drawn
	screen := plainScreen(m)
	if !strings.Contains(screen, "ready>") || !strings.Contains(screen, "line 99") || strings.Contains(screen, "line 10 ") {
		t.Errorf("it shows\n%s", screen)
	}
	for _, l := range m.screen() {
		if strings.Contains(l, "\x1b]0;") {
			t.Errorf("the terminal's title is the agent's: %q", l)
		}
	}
	press(m, "l", "s", "enter")
	got := ""
	for !strings.Contains(got, "ls\r") {
		got += <-h.bottle.heard
	}
	d := m.layout().detail
	for range 30 {
		m.Update(tea.MouseWheelMsg{X: d.x + 3, Y: d.y + 3, Button: tea.MouseWheelUp})
	}
	if screen := plainScreen(m); !strings.Contains(screen, "line 10 ") || strings.Contains(screen, "ready>") {
		t.Errorf("scrolled back it shows\n%s", screen)
	}
	for i, l := range m.screen() {
		if n := ansi.StringWidth(l); n != 120 {
			t.Errorf("line %d is %d wide", i, n)
		}
	}
	press(m, "x")
	if screen := plainScreen(m); !strings.Contains(screen, "ready>") {
		t.Errorf("a key does not bring it back:\n%s", screen)
	}
	m.Update(tea.KeyPressMsg{Code: ']', Mod: tea.ModCtrl})
	if m.focus == onSession {
		t.Error("its key does not leave it")
	}
	press(m, "x")
	if m.session() != nil {
		t.Error("it is still there")
	}
}

func TestWhatIsTypedNeverWaits(t *testing.T) {
	t.Parallel()
	b := newTyped()
	for range 100 {
		if n, err := b.Write(make([]byte, 4096)); n != 4096 || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(b)
	if len(got) != maxTyped || err != nil {
		t.Errorf("%d bytes were kept, %v", len(got), err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}
