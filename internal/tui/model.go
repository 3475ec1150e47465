package tui

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// pane is a part of the screen that can have the keys.
type pane int

const (
	onBottles pane = iota
	onEgress
	onDetail
	onSession
)

// model is all there is to know.
type model struct {
	ctx  context.Context
	host Host
	now  func() time.Time
	tmux Panes
	send func(tea.Msg) // of the program that runs it

	w, h  int
	focus pane
	rows  []row
	sel   int
	shown string // the id of the bottle that the right side is about

	egress   egress
	follow   context.CancelFunc // of the selected bottle's audit log
	launches map[string]*launching
	policies map[string][]string
	sessions map[string]*session
	scroll   int // of the detail pane

	modals []modal // the last one has the keys
	notice string
	until  time.Time
	quit   bool
	// picked gets what was put together, where that is all that is wanted; see Pick.
	picked func(Request)
	known  Request // what is not to be asked
}

func newModel(ctx context.Context, h Host, o Options) *model {
	m := &model{ctx: ctx, host: h, now: o.Now, tmux: o.Tmux, launches: map[string]*launching{}, send: func(tea.Msg) {}}
	if m.now == nil {
		m.now = time.Now
	}
	return m
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd {
	if m.picked != nil {
		return m.after(m.newBottle)
	}
	return m.look(true)
}

// Messages.
type (
	// listed is the list of bottles as it is now.
	listed struct {
		rows []row
		err  error
		// on time: the next look follows a second later. Others are between those.
		onTime bool
	}
	// tick is the time to look again.
	tick struct{}
	// heard are events of a bottle's audit log.
	heard struct {
		id     string
		events []audit.Event
	}
	// done is the end of something that was asked for; text is what to say of it.
	done struct {
		text string
		err  error
	}
)

// every is how often the list is looked at again.
const every = time.Second

// quiet is after how long without a word an agent is taken to wait for its operator: while it works,
// its program has something to show all the time.
const quiet = 10 * time.Second

// look asks a bottle's warden. One that does not answer is as good as none.
func (r *row) look(ctx context.Context, w Warden) {
	if st, err := w.Status(ctx); err == nil {
		r.status = st
	}
	if lines, err := w.Screen(ctx); err == nil {
		r.screen = lines
	}
}

// waits reports whether an agent seems to wait for its operator.
func waits(h Host, e state.Entry, now time.Time) bool {
	if !attachable(e) {
		return false
	}
	shown := h.LastOutput(e)
	return !shown.IsZero() && now.Sub(shown) > quiet
}

// list looks at all bottles now, besides the looks that come every second.
func (m *model) list() tea.Cmd { return m.look(false) }

// look looks at all bottles, and asks the one that is shown.
func (m *model) look(onTime bool) tea.Cmd {
	known := map[string]row{}
	for _, r := range m.rows {
		known[r.id()] = r
	}
	ctx, host, shown, now := m.ctx, m.host, m.shown, m.now
	return func() tea.Msg {
		entries, err := host.Bottles(ctx)
		if err != nil {
			return listed{err: err, onTime: onTime}
		}
		rows := make([]row, 0, len(entries))
		for _, e := range entries {
			r := known[e.ID.String()]
			r.entry, r.waits = e, waits(host, e, now())
			if event, at, ok := host.LastEvent(e, r.lastAt); ok {
				r.last, r.lastAt = told(event), at
			}
			if e.Alive && e.ID.String() == shown {
				r.look(ctx, host.Warden(e))
			}
			rows = append(rows, r)
		}
		arrange(rows)
		return listed{rows: rows, onTime: onTime}
	}
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h = msg.Width, msg.Height
		m.session().resize(m.sessionSize())
		return m, nil
	case listed:
		return m, m.listed(msg)
	case tick:
		return m, m.look(true)
	case heard:
		m.heard(msg)
		return m, nil
	case launched:
		return m, m.launched(msg)
	case drawn:
		return m, m.drawn(msg)
	case alone:
		m.tmux = nil
		m.fail(msg.err)
		return m, m.whole(msg.cmd)
	case done:
		if msg.err != nil {
			m.fail(msg.err)
		} else if msg.text != "" {
			m.say(msg.text)
		}
		return m, m.list()
	case tea.KeyPressMsg:
		return m, m.key(msg)
	case tea.PasteMsg:
		if m.focus == onSession && len(m.modals) == 0 {
			m.session().paste(msg.Content)
		}
		return m, nil
	case tea.MouseClickMsg:
		before := m.focus
		m.click(msg.X, msg.Y)
		if l := m.layout().detail; before == onSession && m.focus == onSession {
			m.session().click(msg, msg.X-l.x-1, msg.Y-l.y-1)
		}
		return m, nil
	case tea.MouseWheelMsg:
		return m, m.wheel(msg)
	}
	return m, nil
}

// listed takes the list over and keeps the selected bottle selected.
func (m *model) listed(msg listed) tea.Cmd {
	var again tea.Cmd
	if msg.onTime {
		again = tea.Tick(every, func(time.Time) tea.Msg { return tick{} })
	}
	if msg.err != nil {
		m.fail(msg.err)
		return again
	}
	m.rows = msg.rows
	if at := slices.IndexFunc(m.rows, func(r row) bool { return r.id() == m.shown }); at >= 0 {
		m.sel = at
	}
	m.sel = min(max(0, m.sel), max(0, len(m.rows)-1))
	if !m.until.IsZero() && m.now().After(m.until) {
		m.notice, m.until = "", time.Time{}
	}
	m.turn()
	return again
}

// selected is the bottle that is selected.
func (m *model) selected() (row, bool) {
	if m.sel >= len(m.rows) {
		return row{}, false
	}
	return m.rows[m.sel], true
}

// turn has the right side be about the selected bottle.
func (m *model) turn() {
	r, ok := m.selected()
	if !ok {
		m.shown = ""
		return
	}
	if r.id() == m.shown && (m.follow != nil || !r.entry.Alive) {
		return
	}
	if r.id() != m.shown {
		m.egress.events, m.scroll = nil, 0
	}
	m.shown = r.id()
	if m.follow != nil {
		m.follow()
		m.follow = nil
	}
	if r.entry.Alive {
		var ctx context.Context
		ctx, m.follow = context.WithCancel(m.ctx)
		go followAudit(ctx, m.host.Warden(r.entry), r.id(), m.send)
	}
}

// say shows a word for a while.
func (m *model) say(text string) { m.notice, m.until = safe(text), m.now().Add(6*time.Second) }

// fail shows an error, with what to do about it, until something else is said.
func (m *model) fail(err error) {
	text := err.Error()
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok && h.Hint() != "" {
		text += "; " + strings.ReplaceAll(h.Hint(), "\n", "; ")
	}
	m.notice, m.until = "error: "+safe(text), m.now().Add(20*time.Second)
}

// after does what comes after a question. Where only questions are asked, the last answer is the end.
func (m *model) after(then func() tea.Cmd) tea.Cmd {
	var next tea.Cmd
	if then != nil {
		next = then()
	}
	if m.picked != nil && len(m.modals) == 0 {
		return m.leave()
	}
	return next
}

// key is a key of the operator's.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	if n := len(m.modals); n > 0 {
		over, then := m.modals[n-1].key(k)
		switch {
		case k.String() == "ctrl+c":
			m.modals, then = nil, nil
		case over:
			m.modals = m.modals[:n-1]
		default:
			return nil
		}
		return m.after(then)
	}
	if m.focus == onSession {
		if k.String() == leaveSession {
			m.focus = onBottles
			return nil
		}
		m.session().key(k)
		return nil
	}
	if m.egress.filtering {
		m.egress.edit(k)
		return nil
	}
	for _, a := range m.actions() {
		if slices.Contains(a.keys, k.String()) {
			return a.do()
		}
	}
	return nil
}

// move selects another bottle, or scrolls.
func (m *model) move(by int) tea.Cmd {
	switch m.focus {
	case onDetail:
		if m.launch() != nil {
			by = -by
		}
		m.scroll = max(0, m.scroll+by)
	case onEgress:
		m.egress.back = max(0, m.egress.back-by)
	default:
		m.sel = min(max(0, m.sel+by), max(0, len(m.rows)-1))
		m.turn()
	}
	return nil
}

func (m *model) click(x, y int) {
	if len(m.modals) > 0 {
		return
	}
	l := m.layout()
	switch {
	case l.bottles.has(x, y):
		m.focus = onBottles
		each := 2
		if len(m.rows)*2 > l.bottles.h-2 {
			each = 1
		}
		visible := max(1, (l.bottles.h-2)/each)
		from := min(max(0, m.sel-visible/2), max(0, len(m.rows)-visible))
		if at := from + (y-l.bottles.y-1)/each; at >= 0 && at < len(m.rows) {
			m.sel = at
			m.turn()
		}
	case l.egress.has(x, y):
		m.focus = onEgress
	case l.detail.has(x, y):
		m.focus = onDetail
		if m.session() != nil {
			m.focus = onSession
		}
	}
}

func (m *model) wheel(w tea.MouseWheelMsg) tea.Cmd {
	if len(m.modals) > 0 {
		return nil
	}
	by := 1
	if w.Button == tea.MouseWheelUp {
		by = -1
	}
	before := m.focus
	m.click(w.X, w.Y)
	if l := m.layout().detail; m.focus == onSession && l.has(w.X, w.Y) {
		m.session().wheel(w, w.X-l.x-1, w.Y-l.y-1)
	} else {
		m.move(by)
	}
	m.focus = before
	return nil
}

// stop asks, and then ends the selected bottle.
func (m *model) stop() tea.Cmd {
	r, ok := m.selected()
	if !ok {
		return nil
	}
	if !r.entry.Alive {
		m.say(r.id() + " has ended already; claude-bottle cleanup removes what is left of it")
		return nil
	}
	m.ask("stop "+r.id()+"?", func() tea.Cmd {
		m.say("stopping " + r.id())
		ctx, host := m.ctx, m.host
		return func() tea.Msg { return done{"stopped " + r.id(), host.Stop(ctx, r.entry)} }
	})
	return nil
}

// attach goes to the selected bottle's session: to the pane beside in tmux, else with the whole terminal.
func (m *model) attach() tea.Cmd {
	r, ok := m.selected()
	if !ok {
		return nil
	}
	if !attachable(r.entry) {
		m.say(r.id() + " has no session: it is " + r.word())
		return nil
	}
	m.closeSession() // its size would bound the other's
	if m.tmux != nil {
		return m.beside(r.id(), m.host.Attach(r.id()))
	}
	return m.whole(m.host.Attach(r.id()))
}

// whole gives a command the whole terminal until it ends. What it has to say, it says itself.
func (m *model) whole(cmd *exec.Cmd) tea.Cmd {
	return tea.ExecProcess(cmd, func(error) tea.Msg { return done{} })
}

// alone says that there is no pane beside us any more, and what was to be shown there.
type alone struct {
	cmd *exec.Cmd
	err error
}

// beside shows a command in the pane of tmux at the right. When tmux can't any more, the whole terminal
// is as good, from now on.
func (m *model) beside(name string, cmd *exec.Cmd) tea.Cmd {
	ctx, tmux := m.ctx, m.tmux
	return func() tea.Msg {
		if err := tmux.Show(ctx, name, cmd.Args...); err != nil {
			return alone{cmd, err}
		}
		return nil
	}
}

func attachable(e state.Entry) bool { return e.Alive && e.State == bottle.Running && !e.Headless }

// logs pages through what a bottle recorded.
func (m *model) logs(launch bool) tea.Cmd {
	r, ok := m.selected()
	if !ok {
		return nil
	}
	return tea.ExecProcess(m.host.Logs(r.id(), launch), func(err error) tea.Msg { return done{} })
}

// edit opens the file of the selected bottle's agent.
func (m *model) edit() tea.Cmd {
	r, ok := m.selected()
	if !ok {
		return nil
	}
	c, err := m.host.Choices()
	if err != nil {
		m.fail(err)
		return nil
	}
	var files []Choice
	for _, a := range c.Agents {
		if a.Name == r.entry.Agent.String() && a.Path != "" {
			files = append(files, Choice{Name: "agent " + a.Name, About: a.Path, Path: a.Path})
		}
	}
	for _, b := range c.Bottles {
		if slices.Contains(r.entry.Bottles, b.Name) && b.Path != "" {
			files = append(files, Choice{Name: "bottle " + b.Name, About: b.Path, Path: b.Path})
		}
	}
	if len(files) == 0 {
		m.say("there is no file of " + r.id() + " any more")
		return nil
	}
	m.pick("edit which file?", files, func(c Choice) tea.Cmd {
		host := m.host
		return tea.ExecProcess(host.Edit(c.Path), func(err error) tea.Msg {
			if err == nil {
				err = host.Check()
			}
			return done{"saved; it counts for bottles started from now on", err}
		})
	})
	return nil
}

// leave asks nothing: bottles go on without us.
func (m *model) leave() tea.Cmd {
	m.quit = true
	return tea.Quit
}
