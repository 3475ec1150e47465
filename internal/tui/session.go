package tui

import (
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"

	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

// leaveSession is the one key that does not go to the agent of a session in here.
const leaveSession = "ctrl+]"

// session is a bottle's session in a pane: a terminal of our own that its output is fed to. What an agent
// writes moves no cursor but that terminal's.
type session struct {
	id     string
	emu    *vt.SafeEmulator
	sizes  chan client.Size
	cancel context.CancelFunc
	dirty  atomic.Bool
	typed  *typed
	back   int        // lines scrolled back
	mu     sync.Mutex // what has scrolled off is not to change while it is drawn
}

// drawn says that a session has something new to show, or with ended that it is over.
type drawn struct {
	id    string
	ended bool
	err   error
}

// frame is how often a session is drawn at most.
const frame = time.Second / 30

// openSession shows the selected bottle's session in here, or goes to it when it is shown already.
func (m *model) openSession() tea.Cmd {
	r, ok := m.selected()
	if !ok {
		return nil
	}
	if m.session() != nil {
		m.focus = onSession
		return nil
	}
	if !attachable(r.entry) {
		m.say(r.id() + " has no session: it is " + r.word())
		return nil
	}
	ctx, cancel := context.WithCancel(m.ctx)
	s := &session{id: r.id(), sizes: make(chan client.Size, 1), cancel: cancel, typed: newTyped()}
	if m.sessions == nil {
		m.sessions = map[string]*session{}
	}
	m.sessions[s.id] = s
	w, h := m.sessionSize()
	s.emu = vt.NewSafeEmulator(w, h)
	m.focus = onSession
	go s.show(ctx, m.host.Warden(r.entry), client.Size{Rows: uint16(h), Cols: uint16(w)}, m.send)
	return nil
}

// session is that of the bottle the right side is about, nil when it has none in here.
func (m *model) session() *session { return m.sessions[m.shown] }

// closeSession leaves the session that is shown; its bottle goes on.
func (m *model) closeSession() tea.Cmd {
	if s := m.session(); s != nil {
		s.cancel()
		delete(m.sessions, s.id)
		m.focus = onBottles
	}
	return nil
}

// sessionSize is the size a session in here has, with the layout it makes.
func (m *model) sessionSize() (w, h int) {
	d := m.layout().detail
	return max(2, d.w-2), max(2, d.h-2)
}

// show feeds the session to the terminal until it ends.
func (s *session) show(ctx context.Context, w Warden, size client.Size, send func(tea.Msg)) {
	defer s.cancel()
	go func() {
		t := time.NewTicker(frame)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if s.dirty.Swap(false) {
					send(drawn{id: s.id})
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() { // ends when the terminal is closed
		_, _ = io.Copy(s.typed, s.emu) // what is typed, and what the terminal answers
	}()
	if pipe, ok := s.emu.InputPipe().(io.Closer); ok { // the terminal's own Close races with its Read
		defer pipe.Close()
	}
	_, err := w.Attach(ctx, client.AttachOptions{
		Stdin: s.typed, Stdout: screen{s}, Size: size, Resize: s.sizes, History: true,
	})
	if ctx.Err() != nil {
		err = nil // somebody left it
	}
	send(drawn{id: s.id, ended: true, err: err})
}

// screen is where a session's output goes.
type screen struct{ s *session }

func (o screen) Write(p []byte) (int, error) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	n, err := o.s.emu.Write(p)
	o.s.dirty.Store(true)
	return n, err
}

var _ io.Writer = screen{}

func (m *model) drawn(d drawn) tea.Cmd {
	if !d.ended {
		return nil // the view draws what there is
	}
	if m.sessions[d.id] != nil {
		delete(m.sessions, d.id)
		if m.focus == onSession && d.id == m.shown {
			m.focus = onBottles
		}
	}
	if d.err != nil {
		m.fail(d.err)
	}
	return m.list()
}

// resize gives the session the size of its pane.
func (s *session) resize(w, h int) {
	if s == nil || s.emu.Width() == w && s.emu.Height() == h {
		return
	}
	s.emu.Resize(w, h)
	select { // a size that nobody has taken is no news any more
	case <-s.sizes:
	default:
	}
	s.sizes <- client.Size{Rows: uint16(h), Cols: uint16(w)}
}

func (s *session) key(k tea.KeyPressMsg) {
	if s != nil {
		s.back = 0
		s.emu.SendKey(uv.KeyPressEvent{Text: k.Text, Mod: k.Mod, Code: k.Code, ShiftedCode: k.ShiftedCode, BaseCode: k.BaseCode, IsRepeat: k.IsRepeat})
	}
}

func (s *session) paste(text string) {
	if s != nil {
		s.emu.Paste(text)
	}
}

// wheel scrolls back, or goes to the agent's program where that takes the mouse and has the screen.
func (s *session) wheel(w tea.MouseWheelMsg, x, y int) {
	if s.emu.IsAltScreen() {
		s.emu.SendMouse(uv.MouseWheelEvent{X: x, Y: y, Button: w.Button, Mod: w.Mod})
		return
	}
	by := -3
	if w.Button == tea.MouseWheelUp {
		by = 3
	}
	s.back = min(max(0, s.back+by), s.emu.ScrollbackLen())
}

// click goes to the agent's program, should it take the mouse.
func (s *session) click(c tea.MouseClickMsg, x, y int) {
	s.emu.SendMouse(uv.MouseClickEvent{X: x, Y: y, Button: c.Button, Mod: c.Mod})
	s.emu.SendMouse(uv.MouseReleaseEvent{X: x, Y: y, Button: c.Button, Mod: c.Mod})
}

// lines are what the session shows, scrolled back as far as it is.
func (s *session) lines(w, h int) []string {
	s.resize(w, h)
	screen := strings.Split(s.emu.Render(), "\n")
	if s.back = min(s.back, s.emu.ScrollbackLen()); s.back == 0 {
		return screen
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	past := s.emu.Scrollback().Lines()
	s.back = min(s.back, len(past))
	var out []string
	for _, l := range past[len(past)-s.back:] {
		out = append(out, l.Render())
	}
	return append(out, screen...)[:h]
}

// maxTyped bounds what is typed and not yet taken, in bytes.
const maxTyped = 64 << 10

// typed is what goes to the agent: writing to it never waits, so that no agent can stop the screen by not
// reading. What is too much is dropped.
type typed struct {
	mu     sync.Mutex
	wake   *sync.Cond
	some   []byte
	closed bool
}

func newTyped() *typed {
	t := &typed{}
	t.wake = sync.NewCond(&t.mu)
	return t
}

// Write implements io.Writer.
func (t *typed) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.some = append(t.some, p[:min(len(p), maxTyped-len(t.some))]...)
	t.wake.Broadcast()
	return len(p), nil
}

// Read implements io.Reader.
func (t *typed) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.some) == 0 && !t.closed {
		t.wake.Wait()
	}
	if len(t.some) == 0 {
		return 0, io.EOF
	}
	n := copy(p, t.some)
	t.some = t.some[n:]
	return n, nil
}

// Close ends a Read under way.
func (t *typed) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.wake.Broadcast()
	return nil
}
