package scan

import (
	"math/bits"

	"github.com/claude-bottle/claude-bottle/internal/scan/decode"
	"github.com/claude-bottle/claude-bottle/internal/scan/known"
)

// rows calls yield for the parts of text that may be digits of some encoding: rows of them without a
// break but line breaks, and parts that are broken more regularly, or more often, than words are.
// The blocks of text say where; most of a text is never read.
func rows(blocks []known.Block, text []byte, least int, yield func(from, to int, broken bool)) {
	var (
		before   uint32 // the block before
		done     int    // text before it was in some row
		edge     = -1   // where the last row of letters and digits ended
		distance int    // from the end before
		same     int    // how many distances in a row were equal
		regular  = span{-1, -1}
	)
	for k, b := range blocks {
		kept := uint32(b)
		both := uint64(before)<<32 | uint64(kept)
		before = kept
		next := (k + 1) * known.BlockSize
		run := both & (both >> 1) // twelve kept bytes in a row end at each bit that stays
		run &= run >> 2
		run &= run >> 4
		run &= run >> 4
		for twelve := uint32(run); twelve != 0 && done < next; {
			at := next - bits.Len32(twelve)
			if at < done { // in the last row
				twelve &= 1<<(next-done) - 1
				continue
			}
			from, to := row(text, at, done)
			done = to
			if to-from >= least {
				yield(from, to, false)
			}
		}
		ends := uint32(^both & (both >> 1))
		many, flagged := 0, false
		for ends != 0 {
			top := bits.Len32(ends) - 1
			ends &^= 1 << top
			at := next - 1 - top
			if b&known.HasEscape != 0 && at < len(text) && text[at] == '\\' { // code in JSON: \n\t\t; what was encoded is seen without the escapes
				edge, same = at, 0
				continue
			}
			many++
			same++
			if at-edge != distance {
				same, distance = 0, at-edge
			}
			edge = at
			if same >= 3 && distance <= 2*known.BlockSize/3 {
				flagged = true
			}
		}
		if !flagged && many <= known.BlockSize/4 {
			continue
		}
		if regular.from >= 0 && regular.to >= next-4*known.BlockSize {
			regular.to = next
			continue
		}
		regular.yield(text, least, yield)
		regular = span{next - known.BlockSize, next}
	}
	regular.yield(text, least, yield)
}

type span struct{ from, to int }

// yield yields the span with what surrounds it.
func (s span) yield(text []byte, least int, yield func(from, to int, broken bool)) {
	if s.from < 0 {
		return
	}
	from, to := max(0, s.from-2*known.BlockSize), min(len(text), s.to+2*known.BlockSize)
	if to-from >= least {
		yield(from, to, true)
	}
}

// row is the row of digits around text[at], not before done. White space may break it where at least
// sixteen digits stood since the last break, as in lines of one length; the last line may be shorter,
// and the first, since that's the last of what is written backwards.
func row(text []byte, at, done int) (from, to int) {
	from = at
	for from > done && decode.Base64Digits[text[from-1]] {
		from--
	}
	line, left := from, from
	for left > done && left > from-4 && isSpace(text[left-1]) {
		left--
	}
	if left < from {
		line = left // so that this one may be short
		for left > done && decode.Base64Digits[text[left-1]] {
			left--
			from = left
		}
	}
	to = at
	for to < len(text) {
		if decode.Base64Digits[text[to]] {
			to++
			continue
		}
		next := to
		for next < len(text) && next < to+4 && isSpace(text[next]) {
			next++
		}
		if to-line < 16 && line > from || next == to || next == len(text) || !decode.Base64Digits[text[next]] {
			break
		}
		line, to = next, next
	}
	return from, to
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
