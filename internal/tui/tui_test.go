package tui

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/warden"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

var update = flag.Bool("update", false, "write the golden screens anew")

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	time.Local = time.UTC // screens show the operator's time
	os.Exit(m.Run())
}

// world is a host without anything behind it.
type world struct {
	entries []state.Entry
	events  []audit.Event
	launch  error
	asked   []string // what it was asked to do
}

func (w *world) Bottles(context.Context) ([]state.Entry, error) { return w.entries, nil }
func (w *world) Warden(e state.Entry) Warden                    { return keeper{w, e} }
func (w *world) LastOutput(e state.Entry) time.Time {
	return map[string]time.Time{"researcher-m3hxd": noon.Add(-time.Minute)}[e.ID.String()]
}
func (w *world) LastEvent(e state.Entry, _ time.Time) (audit.Event, time.Time, bool) {
	if e.State != bottle.Running {
		return audit.Event{}, time.Time{}, false
	}
	return w.events[len(w.events)-1], noon, true
}
func (w *world) Policy(state.Entry) []string {
	return []string{"api.anthropic.com:443  POST /v1/messages", "everything else is refused"}
}
func (w *world) Stop(_ context.Context, e state.Entry) error {
	w.asked = append(w.asked, "stop "+e.ID.String())
	return nil
}
func (w *world) Attach(id string) *exec.Cmd            { return exec.Command("attach", id) }
func (w *world) Logs(id string, launch bool) *exec.Cmd { return exec.Command("logs", id) }
func (w *world) Edit(path string) *exec.Cmd            { return exec.Command("edit", path) }
func (w *world) Check() error                          { return nil }
func (w *world) Choices() (Choices, error) {
	return Choices{
		Agents:   []Choice{{Name: "researcher", About: "reads papers"}, {Name: "builder", About: "builds things", Broken: true}},
		Backends: []Choice{{Name: "native"}, {Name: "docker", About: "unix:///var/run/docker.sock"}},
		Bottles:  []Choice{{Name: "base"}, {Name: "github"}}, Colors: []string{"red", "blue"},
	}, nil
}

func (w *world) Prepare(r Request) (Preflight, error) {
	w.asked = append(w.asked, fmt.Sprintf("prepare %+v", r))
	return paper{w, r}, nil
}

type paper struct {
	w *world
	r Request
}

func (paper) ID() string { return "researcher-00001" }
func (p paper) Lines(int) []string {
	return []string{"researcher-00001  " + p.r.Label, "  backend    " + p.r.Backend, "  egress     everything else is refused"}
}
func (paper) Obstacle() string { return "" }
func (p paper) Launch(_ context.Context, each func(progress.Event)) error {
	p.w.asked = append(p.w.asked, "launch")
	for i := range 10_000 {
		each(progress.Event{Time: noon, Step: "image", Line: fmt.Sprintf("loud line %d", i)})
	}
	return p.w.launch
}

type keeper struct {
	w *world
	e state.Entry
}

func (k keeper) Status(context.Context) (warden.Status, error) {
	return warden.Status{
		Metadata: k.e.Metadata, SelfTest: make([]wire.ProbeResult, 59), SelfTestMillis: 12.2,
		Report: backend.Report{Namespaces: []string{"user", "mount", "pid", "net"}, Landlock: 7, Limits: []string{"memory: cgroup v2"}},
		Egress: warden.Egress{Allowed: 12, Denied: 3, BytesOut: 1234, BytesIn: 5_600_000},
	}, nil
}

func (k keeper) Screen(context.Context) ([]string, error) {
	if k.e.State != bottle.Running {
		return nil, client.ErrNotReady
	}
	return []string{"Do you want to make this edit to main.go?", "", "❯ 1. Yes", "  2. No \x1b[2J", "", ""}, nil
}

func (k keeper) Audit(_ context.Context, _ uint64, _ bool, each func(audit.Event) error) error {
	for _, e := range k.w.events {
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

func (keeper) Attach(context.Context, client.AttachOptions) (client.Result, error) {
	return client.Result{}, errors.New("no session")
}

func entry(t testing.TB, id string, s bottle.State, ago time.Duration, label string) state.Entry {
	t.Helper()
	i, err := bottle.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := bottle.ParseName(id[:strings.LastIndex(id, "-")])
	if err != nil {
		t.Fatal(err)
	}
	return state.Entry{Alive: !s.Ended(), Metadata: state.Metadata{
		V: 1, ID: i, Agent: agent, Label: label, Color: "blue", Backend: "native", Bottles: []string{"base", "github"}, State: s, Started: noon.Add(-ago),
	}}
}

// scene is a screen with one bottle of each kind, and traffic.
func scene(t testing.TB) *world {
	one := 1
	failed := entry(t, "builder-zz9x1", bottle.Failed, 3*time.Hour, "")
	failed.Reason = "the bottle ran out of its 512 MiB of memory"
	ended := entry(t, "writer-a1b2c", bottle.Stopped, 26*time.Hour, "")
	ended.Exit = &one
	w := &world{entries: []state.Entry{
		ended, failed, entry(t, "researcher-m3hxd", bottle.Running, 12*time.Minute, "lamp"), entry(t, "tester-0abcd", bottle.Creating, 4*time.Second, ""),
	}}
	for i, host := range []string{"api.anthropic.com", "github.com", "pastebin.example", "evil\x1b[2J\u202e.test"} {
		verdict, rule := "allow", "anthropic: POST /v1/messages"
		if i > 1 {
			verdict, rule = "deny", ""
		}
		w.events = append(w.events, audit.Event{
			V: 1, Seq: uint64(i + 1), Time: noon.Add(-time.Duration(50-10*i) * time.Second), Kind: audit.KindRequest, Verdict: verdict, Rule: rule,
			Why: "no rule of this bottle names the host", Host: host, Method: "GET", Path: "/x", Status: 200,
		})
	}
	return w
}

// shown is a dashboard of w that has looked around.
func shown(t testing.TB, w *world, width, height int) *model {
	t.Helper()
	m := newModel(t.Context(), w, Options{Now: func() time.Time { return noon }})
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	m.Update(m.list()())
	m.Update(heard{m.shown, w.events})
	m.Update(m.list()())
	return m
}

func plainScreen(m *model) string { return ansi.Strip(strings.Join(m.screen(), "\n")) + "\n" }

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew):\n%s", path, d)
	}
}

func press(m *model, keys ...string) {
	for _, k := range keys {
		msg := tea.KeyPressMsg{Text: k}
		if r := []rune(k); len(r) == 1 {
			msg.Code = r[0]
		}
		switch k {
		case "enter":
			msg = tea.KeyPressMsg{Code: tea.KeyEnter}
		case "esc":
			msg = tea.KeyPressMsg{Code: tea.KeyEscape}
		case "down":
			msg = tea.KeyPressMsg{Code: tea.KeyDown}
		case "up":
			msg = tea.KeyPressMsg{Code: tea.KeyUp}
		case "tab":
			msg = tea.KeyPressMsg{Code: tea.KeyTab}
		case "space":
			msg = tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
		}
		_, cmd := m.Update(msg)
		settle(m, cmd)
	}
}

// inbox keeps what is sent to a model from elsewhere until the test takes it, as the program's loop does.
type inbox struct {
	mu   sync.Mutex
	msgs []tea.Msg
}

func (b *inbox) put(msg tea.Msg) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.msgs = append(b.msgs, msg)
}

func (b *inbox) deliver(m *model) {
	b.mu.Lock()
	msgs := b.msgs
	b.msgs = nil
	b.mu.Unlock()
	for _, msg := range msgs {
		m.Update(msg)
	}
}

// settle does what a command asks for, as the program would.
func settle(m *model, cmd tea.Cmd) {
	for cmd != nil {
		msg := cmd()
		if batch, ok := msg.(tea.BatchMsg); ok {
			for _, c := range batch {
				settle(m, c)
			}
			return
		}
		if _, again := msg.(listed); again {
			m.Update(msg) // and no more ticking
			return
		}
		_, cmd = m.Update(msg)
	}
}

func TestScreens(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
		m := shown(t, scene(t), size[0], size[1])
		lines := m.screen()
		if len(lines) != size[1] {
			t.Errorf("%dx%d has %d lines", size[0], size[1], len(lines))
		}
		for i, l := range lines {
			if n := ansi.StringWidth(l); n != size[0] {
				t.Errorf("%dx%d: line %d is %d wide: %q", size[0], size[1], i, n, ansi.Strip(l))
			}
		}
		golden(t, fmt.Sprintf("%dx%d", size[0], size[1]), plainScreen(m))
	}
}

func TestScreensOfOtherSizesAreWhole(t *testing.T) {
	t.Parallel()
	for w := 40; w < 220; w += 13 {
		for h := 10; h < 70; h += 7 {
			m := shown(t, scene(t), w, h)
			m.help()
			lines := m.screen()
			if len(lines) != h {
				t.Fatalf("%dx%d has %d lines", w, h, len(lines))
			}
			for _, l := range lines {
				if n := ansi.StringWidth(l); n != w {
					t.Fatalf("%dx%d: a line is %d wide: %q", w, h, n, ansi.Strip(l))
				}
			}
		}
	}
}

// Whatever an agent wrote stays text: of what it may have written no control character and no
// character that turns the line around reaches the screen.
func TestWhatAgentsWriteIsInert(t *testing.T) {
	t.Parallel()
	w := scene(t)
	hostile := "x\x1b]0;owned\x07\x1b[2J\u202e\u200by\r\n"
	w.entries[2].Label, w.entries[2].Reason, w.entries[2].Backend, w.entries[2].CopyOf = hostile, hostile, hostile, hostile
	for i := range w.events {
		w.events[i].Host, w.events[i].Path, w.events[i].Rule, w.events[i].Method = hostile, hostile, hostile, hostile
	}
	for _, size := range [][2]int{{80, 24}, {200, 60}} {
		m := shown(t, w, size[0], size[1])
		m.fail(errors.New(hostile))
		for _, l := range m.screen() {
			for _, bad := range []string{"\x1b]", "\x1b[2J", "\u202e", "\u200b", "\r", "\x07"} {
				if strings.Contains(l, bad) {
					t.Errorf("a line holds %q: %q", bad, l)
				}
			}
		}
	}
}

// Until the yes nothing is asked of the host but what it knows; ten thousand lines of a build are
// shown where the launch is, and disturb nothing.
func TestNewBottleAsksFirst(t *testing.T) {
	t.Parallel()
	w := scene(t)
	m := shown(t, w, 120, 40)
	var in inbox
	m.send = in.put
	press(m, "n")
	if !strings.Contains(plainScreen(m), "a new bottle of which agent?") {
		t.Fatalf("no question:\n%s", plainScreen(m))
	}
	press(m, "r", "s", "enter")        // researcher, by some of its letters
	press(m, "down", "enter")          // docker
	press(m, "down", "space", "enter") // github
	press(m, "l", "i", "g", "h", "t", "enter", "enter")
	screen := plainScreen(m)
	for _, want := range []string{"preflight", "launch researcher-00001?", "light", "docker"} {
		if !strings.Contains(screen, want) {
			t.Errorf("the preflight lacks %q:\n%s", want, screen)
		}
	}
	if want := []string{`prepare {Agent:researcher Backend:docker Bottles:[github] Label:light Color:}`}; !cmp.Equal(w.asked, want) {
		t.Errorf("before the yes it was asked %q", w.asked)
	}
	press(m, "n")
	if len(m.modals) != 0 || len(w.asked) != 1 {
		t.Errorf("after a no: %d modals, asked %q", len(m.modals), w.asked)
	}
	w.launch = errors.New("no space left on device")
	m.show(Request{Agent: "researcher"})
	press(m, "y")
	in.deliver(m)
	if w.asked[len(w.asked)-1] != "launch" {
		t.Errorf("after a yes it was asked %q", w.asked)
	}
	l := m.launches["researcher-00001"]
	if l == nil || !l.ended || l.err == nil || len(l.told) != maxTold {
		t.Fatalf("the launch is %+v", l)
	}
	if screen := plainScreen(m); !strings.Contains(screen, "error: launch of researcher-00001: no space left on device") || strings.Contains(screen, "loud line") {
		t.Errorf("after the launch failed:\n%s", screen)
	}
}

// brokenPanes are those of a tmux that has died.
type brokenPanes struct{ asked int }

func (b *brokenPanes) Show(context.Context, string, ...string) error {
	b.asked++
	return errors.New("tmux split-window: no server running")
}
func (*brokenPanes) Close() error { return nil }

func TestWithoutTmuxTheWholeTerminalWillDo(t *testing.T) {
	t.Parallel()
	m := shown(t, scene(t), 120, 40)
	panes := &brokenPanes{}
	m.tmux = panes
	_, cmd := m.Update(tea.KeyPressMsg{Code: tea.KeyEnter})
	msg := cmd()
	if _, gone := msg.(alone); !gone || panes.asked != 1 {
		t.Fatalf("a dead tmux is answered with %T, asked %d times", msg, panes.asked)
	}
	if _, cmd = m.Update(msg); cmd == nil || m.tmux != nil || !strings.Contains(m.notice, "no server running") {
		t.Errorf("then there is %v, notice %q", cmd, m.notice)
	}
}

// The news of a launch is its last line; scrolling goes back.
func TestALaunchShowsItsLastLines(t *testing.T) {
	t.Parallel()
	m := shown(t, scene(t), 120, 40)
	id := "tester-0abcd" // which is being made
	m.launches[id] = &launching{id: id}
	for m.shown != id {
		press(m, "down")
	}
	var events []progress.Event
	for i := range 500 {
		events = append(events, progress.Event{Step: "image", Line: fmt.Sprintf("loud line %03d", i)})
	}
	m.Update(launched{id: id, events: events})
	if screen := plainScreen(m); !strings.Contains(screen, "loud line 499") || strings.Contains(screen, "loud line 400") {
		t.Errorf("it shows\n%s", screen)
	}
	m.focus = onDetail
	for range 100 {
		press(m, "up")
	}
	if screen := plainScreen(m); !strings.Contains(screen, "loud line 399") || strings.Contains(screen, "loud line 499") {
		t.Errorf("scrolled back it shows\n%s", screen)
	}
}

func TestStopAsksFirst(t *testing.T) {
	t.Parallel()
	w := scene(t)
	m := shown(t, w, 100, 30)
	press(m, "s")
	if len(w.asked) != 0 || !strings.Contains(plainScreen(m), "stop researcher-m3hxd?") {
		t.Errorf("asked %q:\n%s", w.asked, plainScreen(m))
	}
	press(m, "n", "s", "y")
	if !cmp.Equal(w.asked, []string{"stop researcher-m3hxd"}) {
		t.Errorf("asked %q", w.asked)
	}
}

// Looks that something asks for don't add to those that come every second: there would be ever more of them.
func TestLooksDoNotMultiply(t *testing.T) {
	t.Parallel()
	m := shown(t, scene(t), 100, 30)
	for what, c := range map[string]struct {
		cmd   tea.Cmd
		again bool
	}{"the first": {m.Init(), true}, "asked for": {m.list(), false}} {
		if _, next := m.Update(c.cmd()); (next != nil) != c.again {
			t.Errorf("%s: another one follows: %v", what, next != nil)
		}
	}
	if _, next := m.Update(tick{}); next == nil {
		t.Error("when it is time nobody looks")
	} else if l, ok := next().(listed); !ok || !l.onTime {
		t.Errorf("when it is time there is %+v", l)
	}
	if _, next := m.Update(done{"done", nil}); next == nil {
		t.Error("after something was done nobody looks")
	} else if l, ok := next().(listed); !ok || l.onTime {
		t.Errorf("after something was done there is %+v", l)
	}
}

func TestFilterNarrows(t *testing.T) {
	t.Parallel()
	m := shown(t, scene(t), 120, 40)
	press(m, "/", "p", "a", "s", "t", "e", "enter")
	screen := plainScreen(m)
	if !strings.Contains(screen, "pastebin.example") || strings.Contains(screen, "github.com/x") {
		t.Errorf("filtered:\n%s", screen)
	}
}

func TestOnceTellsWhatTheScreenKnows(t *testing.T) {
	t.Parallel()
	var text, data strings.Builder
	if err := Once(t.Context(), scene(t), &text, 100, 30, false); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); strings.Contains(s, "\x1b") || !strings.Contains(s, "researcher-m3hxd") || strings.Count(s, "\n") != 30 {
		t.Errorf("it prints\n%s", s)
	}
	if err := OnceJSON(t.Context(), scene(t), &data); err != nil || !strings.Contains(data.String(), `"id": "researcher-m3hxd"`) || !strings.Contains(data.String(), `"landlock": 7`) {
		t.Errorf("it prints %s, %v", data.String(), err)
	}
}

// crowd is a screen of many bottles.
func crowd(t testing.TB, n int) *world {
	w := scene(t)
	w.entries = nil
	for i := range n {
		w.entries = append(w.entries, entry(t, fmt.Sprintf("agent-%05d", i), bottle.Running, time.Duration(i)*time.Second, "bottle"))
	}
	for len(w.events) < maxEvents {
		w.events = append(w.events, w.events[:4]...)
	}
	return w
}

func BenchmarkFrame(b *testing.B) {
	m := shown(b, crowd(b, 200), 200, 60)
	for b.Loop() {
		m.sel = (m.sel + 1) % len(m.rows)
		if len(m.screen()) != 60 {
			b.Fatal("no screen")
		}
	}
}
