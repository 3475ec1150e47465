package scan

import (
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/scan/decode"
	"github.com/claude-bottle/claude-bottle/internal/scan/known"
)

// hasEscape are the flags of a block that has what Escapes may undo.
const hasEscape = known.HasEscape | known.HasUTF8

// escapes undoes the escapes of text, of both kinds and whichever way round.
func (w *worker) escapes(l *level, text []byte, depth, again int) {
	l.signs = slices.Grow(l.signs[:0], len(l.blocks))[:len(l.blocks)]
	var all decode.Signs
	for i, b := range l.blocks {
		var wanted decode.Signs
		if b&hasEscape != 0 {
			wanted = decode.Escaped
		}
		if b&known.HasEquals != 0 {
			wanted |= decode.Printed
		}
		if b&(known.HasEscape|known.HasEquals) != 0 && w.turn == asIs {
			wanted |= decode.Reversed | decode.Rotated
		}
		l.signs[i] = 0
		if wanted != 0 {
			l.signs[i] = l.view.Signs(text, i*known.BlockSize, min(len(text), (i+1)*known.BlockSize), wanted)
		}
		all |= l.signs[i]
	}
	if all&decode.Escaped != 0 {
		w.clusters(l, text, decode.Escaped, "escapes", (*decode.Text).Escapes, depth, again)
	}
	if all&decode.Printed != 0 {
		w.clusters(l, text, decode.Printed, "quoted-printable", (*decode.Text).QuotedPrintable, depth, again)
	}
	if all&(decode.Reversed|decode.Rotated) != 0 {
		w.turned(l, text, again)
	}
}

// clusters undoes one kind of escape around the places that have any.
func (w *worker) clusters(l *level, text []byte, sign decode.Signs, name string, undo func(*decode.Text, []byte) bool, depth, again int) {
	near := (w.s.margin + known.BlockSize - 1) / known.BlockSize
	for i := 0; i < len(l.blocks); i++ {
		if !w.escaped(l, text, i, sign) {
			continue
		}
		last := i
		for j := i + 1; j < len(l.blocks) && j <= last+2*near; j++ {
			if w.escaped(l, text, j, sign) {
				last = j
			}
		}
		from := max(0, i-near) * known.BlockSize
		to := min((last+1+near)*known.BlockSize, len(text))
		i = last
		parts(from, to, func(from, to int) {
			if undo(&l.view, text[from:to]) {
				w.inner(l.view.Bytes, frame{name: name, base: from, text: &l.view}, depth, again-1)
			}
		})
	}
}

// escaped reports whether an escape begins in the block, near some text: in binary data any byte is
// the beginning of some escape.
func (w *worker) escaped(l *level, text []byte, block int, sign decode.Signs) bool {
	if l.signs[block]&sign == 0 {
		return false
	}
	from, to := max(0, (block-1)*known.BlockSize), min(len(text), (block+2)*known.BlockSize)
	return to-from < 3*known.BlockSize || decode.Readable(text[from:to], w.s.least)
}

// turned looks at the escapes of text that are such only backwards or rotated by 13. Other encodings
// are found either way; what is escaped backwards is not looked at for any.
func (w *worker) turned(l *level, text []byte, again int) {
	for _, t := range []turn{reversed, rotated} {
		cluster := span{-1, -1}
		flush := func() {
			if cluster.from >= 0 {
				parts(max(0, cluster.from-w.s.margin), min(len(text), cluster.to+w.s.margin), func(from, to int) {
					w.turnedPart(l, text[from:to], from, t, again)
				})
			}
		}
		sign := decode.Reversed
		if t == rotated {
			sign = decode.Rotated
		}
		for i, s := range l.signs {
			if s&sign == 0 {
				continue
			}
			at := decode.Turned(text, i*known.BlockSize, min(len(text), (i+1)*known.BlockSize), t == rotated)
			if cluster.from < 0 || at-cluster.to > 2*w.s.margin {
				flush()
				cluster.from = at
			}
			cluster.to = at + known.BlockSize
		}
		flush()
	}
}

func (w *worker) turnedPart(l *level, part []byte, base int, t turn, again int) {
	f := frame{name: "reversed", base: base, size: len(part), turn: t}
	if t == reversed {
		l.view.Reverse(part)
	} else {
		f.name = "rot13"
		l.view.Rotate(part)
	}
	w.turn = t
	w.inner(l.view.Bytes, f, 0, again-1)
	w.turn = asIs
}
