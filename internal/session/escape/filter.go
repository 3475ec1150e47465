// Package escape lets a hostile program draw on the operator's terminal and do nothing else to it.
// Filter is a streaming parser that passes text, colours, cursor movement and the modes a full
// screen program needs, and drops the rest: clipboard writes, device control strings, pass-through
// to a multiplexer around us, window operations, title reports, palette changes, printing,
// checksums, macros, 8-bit controls. It is an allow-list: what it doesn't know does not pass.
//
//	var f escape.Filter
//	out = f.Append(out[:0], chunk)
//
// What passes is normalised (one private mode a sequence, one spelling for the alternate screen,
// UTF-8 without errors), so that readers behind it can be simple, and it is never cut inside a
// sequence or character: what is incomplete waits for the next Append.
package escape

import (
	"bytes"
	"unicode/utf8"
)

// Bounds on what a Filter holds of one sequence, in bytes. Longer ones are dropped whole.
const (
	maxCSI = 256
	maxOSC = 4096
)

type stage uint8

const (
	ground  stage = iota
	escape        // after ESC
	inter         // after ESC and intermediates
	control       // in a CSI sequence
	command       // in an OSC string
	ignored       // in a string that is dropped: DCS, APC, PM, SOS, a title of screen's
)

// Control characters named here.
const (
	bel = 0x07
	so  = 0x0e
	si  = 0x0f
	can = 0x18
	sub = 0x1a
	esc = 0x1b
	del = 0x7f
)

// Filter is one stream's filter. Its zero value is ready. It is not safe for concurrent use.
type Filter struct {
	// Rows is the height of the screen, when known: a scroll region is kept within it, since not
	// every emulator does.
	Rows int

	stage stage
	// stringEsc is set after an ESC inside a string, which ends it when a backslash follows.
	stringEsc bool
	overlong  bool   // the sequence at hand passed its bound and will be dropped
	held      []byte // its bytes, without the introducer
	rune4     []byte // the head of a character cut by the end of a chunk
	chain     int    // runes that joined the last character's cell
	joiner    bool   // the last rune glues the next one to it
	queries   []Span
}

// Span is a part of what one Append appended: dst[From:To].
type Span struct{ From, To int }

// Append appends to dst what may pass of src, and returns the extended slice. It allocates only
// to grow dst, and keeps no reference to src.
func (f *Filter) Append(dst, src []byte) []byte {
	f.queries = f.queries[:0]
	for len(src) > 0 {
		switch f.stage {
		case ground:
			dst, src = f.text(dst, src)
		case escape, inter:
			dst, src = f.escaped(dst, src[0]), src[1:]
		case control:
			dst, src = f.controlled(dst, src)
		case command, ignored:
			dst, src = f.inString(dst, src)
		}
	}
	return dst
}

// Queries returns where the last Append's output asks the terminal to answer something, in order.
// The slice is valid until the next Append.
func (f *Filter) Queries() []Span { return f.queries }

// Quiet returns out without the parts in queries: for a terminal that is not to answer. With no
// queries it is out itself.
func Quiet(out []byte, queries []Span) []byte {
	if len(queries) == 0 {
		return out
	}
	quiet, from := make([]byte, 0, len(out)), 0
	for _, q := range queries {
		quiet = append(quiet, out[from:q.From]...)
		from = q.To
	}
	return append(quiet, out[from:]...)
}

func (f *Filter) query(dst []byte, parts ...string) []byte {
	from := len(dst)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	f.queries = append(f.queries, Span{from, len(dst)})
	return dst
}

// text handles src up to the first escape character and a little of what follows.
func (f *Filter) text(dst, src []byte) (_, rest []byte) {
	if len(f.rune4) > 0 {
		return f.resume(dst, src)
	}
	n := 0
	for n < len(src) && src[n] >= ' ' && src[n] < del {
		n++
	}
	if n > 0 {
		f.chain, f.joiner = 0, false
		return append(dst, src[:n]...), src[n:]
	}
	c := src[0]
	switch {
	case c == esc:
		f.begin(escape)
	case c >= bel && c <= '\r' || c == so || c == si: // BEL BS HT LF VT FF CR SO SI
		f.chain, f.joiner = 0, false
		dst = append(dst, c)
	case c >= utf8.RuneSelf:
		if !utf8.FullRune(src) {
			f.rune4 = append(f.rune4, src...)
			return dst, nil
		}
		r, size := utf8.DecodeRune(src)
		return f.appendRune(dst, r), src[size:]
	}
	return dst, src[1:]
}

// resume completes the character whose head an earlier chunk ended in.
func (f *Filter) resume(dst, src []byte) (_, rest []byte) {
	held := len(f.rune4)
	f.rune4 = append(f.rune4, src[:min(len(src), utf8.UTFMax-held)]...)
	if !utf8.FullRune(f.rune4) {
		return dst, nil
	}
	r, size := utf8.DecodeRune(f.rune4)
	f.rune4 = f.rune4[:0]
	dst = f.appendRune(dst, r)
	// A broken head takes nothing of src with it, and each of its bytes stands for one bad
	// character, as it does when it comes whole.
	for range held - size {
		dst = f.appendRune(dst, utf8.RuneError)
	}
	return dst, src[max(0, size-held):]
}

func (f *Filter) begin(s stage) {
	f.stage, f.held, f.overlong, f.stringEsc = s, f.held[:0], false, false
}

// hold keeps c of the sequence at hand, within limit.
func (f *Filter) hold(c byte, limit int) {
	if len(f.held) >= limit {
		f.overlong = true
		return
	}
	f.held = append(f.held, c)
}

// escaped handles one byte after ESC.
func (f *Filter) escaped(dst []byte, c byte) []byte {
	switch {
	case c == esc:
		f.begin(escape)
	case c == can || c == sub:
		f.begin(ground)
	case c < ' ' || c >= del:
		// Other controls between are not executed, merely dropped; nothing sane sends them.
	case c < '0':
		f.stage = inter
		f.hold(c, 4)
	case f.stage == inter:
		dst = f.charset(dst, c)
		f.begin(ground)
	case c == '[':
		f.begin(control)
	case c == ']':
		f.begin(command)
	case bytes.IndexByte([]byte("P_^Xk"), c) >= 0: // DCS, APC, PM, SOS, and screen's title
		f.begin(ignored)
	default:
		dst = plainEscape(dst, c)
		f.begin(ground)
	}
	return dst
}

// plainEscape handles the two-byte sequences.
func plainEscape(dst []byte, c byte) []byte {
	switch c {
	case '7', '8', 'D', 'M', '=', '>':
		return append(dst, esc, c)
	case 'E': // next line; not every emulator has it
		return append(dst, "\r\n"...)
	case 'c':
		return append(dst, hardReset...)
	}
	return dst
}

// charset handles the designation of G0 and G1, the only ones a shift that passes can reach.
func (f *Filter) charset(dst []byte, c byte) []byte {
	if f.overlong || len(f.held) != 1 || f.held[0] != '(' && f.held[0] != ')' {
		return dst
	}
	if c != 'A' && c != 'B' && c != '0' {
		return dst
	}
	return append(dst, esc, f.held[0], c)
}

// controlled handles the bytes of a CSI sequence.
func (f *Filter) controlled(dst, src []byte) (_, rest []byte) {
	for i, c := range src {
		switch {
		case c == esc:
			f.begin(escape)
			return dst, src[i+1:]
		case c == can || c == sub || c >= utf8.RuneSelf:
			f.begin(ground)
			if c >= utf8.RuneSelf {
				return dst, src[i:]
			}
			return dst, src[i+1:]
		case c < ' ' || c == del: // not executed, merely dropped
		case c < '@':
			f.hold(c, maxCSI)
		default:
			if !f.overlong {
				dst = f.sequence(dst, f.held, c)
			}
			f.begin(ground)
			return dst, src[i+1:]
		}
	}
	return dst, nil
}

// inString handles the bytes of an OSC string and of strings that are dropped.
func (f *Filter) inString(dst, src []byte) (_, rest []byte) {
	for i, c := range src {
		if f.stringEsc {
			f.stringEsc = false
			if c == '\\' {
				dst = f.endString(dst)
				return dst, src[i+1:]
			}
			// Any other escape breaks the string off and starts anew.
			f.begin(escape)
			return dst, src[i:]
		}
		switch {
		case c == esc:
			f.stringEsc = true
		case c == can || c == sub:
			f.begin(ground)
			return dst, src[i+1:]
		case c == bel && f.stage == command:
			dst = f.endString(dst)
			return dst, src[i+1:]
		case f.stage == command:
			f.hold(c, maxOSC)
		}
	}
	return dst, nil
}

func (f *Filter) endString(dst []byte) []byte {
	if f.stage == command && !f.overlong {
		dst = f.operating(dst, f.held)
	}
	f.begin(ground)
	return dst
}
