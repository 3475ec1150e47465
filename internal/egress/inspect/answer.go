package inspect

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan/unpack"
)

// maxAnswerHeld is how much of an answer is looked at before any of it goes to the bottle, on routes
// that refuse answers with orders in them, in bytes.
const maxAnswerHeld = 1 << 20

// ErrOrders is an answer that holds orders for a model, on a route that refuses those.
var ErrOrders = errors.New("the answer holds what reads like orders to a model")

// Answer makes res, an upstream's answer on a route, fit for the bottle: it wraps the body, and
// undoes a content coding where the body must be looked into. Ref names the credential that is
// injected on the route; empty for none. The Answer tells, when the body has been read, what was
// done to it; it is nil where there is nothing to look for.
func (in *Inspector) Answer(res *http.Response, ref string, s policy.Scan) (*Answer, error) {
	if res.Body == nil || res.Body == http.NoBody || res.StatusCode == http.StatusSwitchingProtocols || res.Request != nil && res.Request.Method == http.MethodHead {
		return nil, nil
	}
	a := &Answer{src: res.Body}
	if !slices.Contains(s.Off, policy.Echo) {
		a.echoes = in.echoes[ref]
	}
	if !s.Model && res.StatusCode != http.StatusPartialContent && readable(res.Header.Get("Content-Type")) {
		a.invisible = !slices.Contains(s.Off, policy.Invisible)
		a.orders = s.Injection != policy.Off && !slices.Contains(s.Off, policy.Injection)
	}
	if a.echoes == nil && !a.invisible && !a.orders {
		return nil, nil
	}
	coded, err := in.decode(res, a)
	switch {
	case err != nil && a.echoes != nil:
		return nil, fmt.Errorf("its answer can't be looked into: %w", err)
	case err != nil:
		return nil, nil // nothing of ours can be in it; what it says is between upstream and the bottle
	}
	if a.orders && s.Injection == policy.Enforce {
		if err := a.hold(); err != nil {
			_ = a.Close() // it is refused
			return nil, err
		}
	}
	if coded {
		res.ContentLength = -1
		res.Header.Del("Content-Length")
		res.Header.Del("Content-Encoding")
	}
	res.Body = a
	return a, nil
}

// decode undoes the content coding of res for a, and reports whether there was one.
func (in *Inspector) decode(res *http.Response, a *Answer) (coded bool, err error) {
	codings, err := unpack.Coding(res.Header["Content-Encoding"])
	if err != nil || len(codings) == 0 {
		return false, err
	}
	plain, err := unpack.NewReader(res.Body, codings, in.limits)
	if err != nil {
		return false, err
	}
	a.src = plain
	return true, nil
}

// readable reports whether a body of the type is text that people and models read.
func readable(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch kind {
	case "text/html", "text/plain", "text/markdown", "application/json", "application/xhtml+xml":
		return true
	}
	return strings.HasSuffix(kind, "+json")
}

// Answer is the body of an upstream's answer, as the bottle may have it.
type Answer struct {
	src       io.ReadCloser
	echoes    literals
	invisible bool
	orders    bool
	refuse    bool // ends the answer at an order

	carry []byte // read and not given out: it may be the beginning of something
	front []byte // held before the answer began, looked at already
	past  []byte // the end of what was looked at for orders
	err   error

	echoed, revealed int
	ordered          string
}

// carryMax bounds what is carried from one read to the next, in bytes: spellings of credentials are
// shorter.
const carryMax = 8 << 10

// Read reads on. A reader with little room gets less than there is.
func (a *Answer) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if len(a.front) > 0 {
			n := copy(p, a.front)
			a.front = a.front[n:]
			return n, nil
		}
		if a.err != nil {
			return 0, a.err
		}
		room := p
		if len(room) < len(a.carry)+512 {
			room = make([]byte, len(a.carry)+512) // given out by way of front
		}
		n := copy(room, a.carry)
		m, err := a.src.Read(room[n:])
		data := room[:n+m]
		a.err = err
		held := a.look(data, n, err != nil)
		a.carry = append(a.carry[:0], data[len(data)-held:]...)
		if data = data[:len(data)-held]; len(data) == 0 {
			continue
		}
		if &room[0] != &p[0] {
			a.front = data
			continue
		}
		return len(data), nil
	}
	return 0, nil
}

// look puts right what is wrong in b, of which the first seen bytes were looked at before, and
// returns how many bytes at its end must wait for what follows.
func (a *Answer) look(b []byte, seen int, last bool) (held int) {
	if len(a.echoes) > 0 {
		h, found := a.echoes.mask(b)
		held = h
		if found {
			a.echoed++
		}
	}
	if a.invisible {
		n, h := reveal(b[:len(b)-held])
		a.revealed += n
		held += h
	}
	if a.orders && a.ordered == "" && len(b) > seen {
		a.past = append(a.past, b[seen:]...)
		if a.ordered = ordered(a.past); a.ordered != "" && a.refuse {
			a.err = ErrOrders
			return len(b)
		}
		a.past = append(a.past[:0], a.past[max(0, len(a.past)-2*reach):]...)
	}
	if last || held > carryMax {
		return 0
	}
	return held
}

// hold reads the beginning of the body, and fails when there are orders in it. What comes after it
// ends where one does.
func (a *Answer) hold() error {
	a.refuse = true
	front, err := io.ReadAll(io.LimitReader(a, maxAnswerHeld))
	if err != nil {
		return err
	}
	a.front = append(front, a.front...)
	return nil
}

// Close ends the reading.
func (a *Answer) Close() error { return a.src.Close() }

// Note is one thing that was found in an answer.
type Note struct {
	Kind   string // "echo", "invisible" or "orders"
	Text   string
	Action string // "redacted", "warned" or "blocked"
}

// Notes tell what was done to the answer so far.
func (a *Answer) Notes() []Note {
	var notes []Note
	if a.echoed > 0 {
		notes = append(notes, Note{"echo", "the injected credential", "redacted"})
	}
	if a.revealed > 0 {
		notes = append(notes, Note{"invisible", fmt.Sprintf("%d invisible characters", a.revealed), "redacted"})
	}
	if a.ordered != "" {
		action := "warned"
		if a.refuse {
			action = "blocked"
		}
		notes = append(notes, Note{"orders", "what reads like orders to a model (" + a.ordered + " ...)", action})
	}
	return notes
}
