package known

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
)

// A pattern is one form of one secret, squeezed, and where in it the eight bytes stand that lead
// to it.
type pattern struct {
	text   []byte
	secret int32
	anchor int32 // offset of the eight bytes that are its four grams
	need   int32 // how many bytes in a row, the anchor among them, make a hit
	edge   int32 // bytes of the encoding that depend on its neighbours and were cut at each end
	form   string
}

const (
	// minimum is the shortest squeezed text that can be told from chance.
	minimum = 8
	// verbatim is the shortest value looked for at all, byte by byte.
	verbatim = 6
	// distinct is how many different bytes a pattern must have: "00000000" is everywhere.
	distinct = 5
	// A value much longer than pieceSize is looked for by up to maxPieces of that size, so that a
	// private key costs no more than a few tokens.
	pieceSize, maxPieces = 128, 4
)

// A form writes a value in one encoding. The encodings of a part of the value that don't depend on
// what stands around it are returned, one for each alignment.
type form struct {
	name   string
	encode func(v []byte) [][]byte
	edge   int32
	turned bool // also of the value reversed and rotated
}

var forms = []form{
	{"", func(v []byte) [][]byte { return [][]byte{v} }, 0, true},
	{"hex", func(v []byte) [][]byte { return [][]byte{hex.AppendEncode(nil, v)} }, 0, true},
	{"base64", aligned(3, 4, 6, base64.StdEncoding.AppendEncode), 2, true},
	{"base32", aligned(5, 8, 5, base32.StdEncoding.AppendEncode), 2, true},
	{"decimal", each("%d"), 0, false},
	{"decimal reversed", func(v []byte) [][]byte { return [][]byte{reversed(each("%d")(v)[0])} }, 0, false},
	{`\x`, each("x%02x"), 0, false},
	{`\u`, each("u%04x"), 0, false},
}

// each writes every byte of a value by itself.
func each(verb string) func([]byte) [][]byte {
	return func(v []byte) [][]byte {
		var out []byte
		for _, c := range v {
			out = fmt.Appendf(out, verb, c)
		}
		return [][]byte{out}
	}
}

// aligned writes v as if 0..group-1 bytes stood before it, and keeps the digits that carry bits of
// v alone. A digit has the given number of bits, and group bytes make digits of them.
func aligned(group, digits, width int, encode func(dst, src []byte) []byte) func([]byte) [][]byte {
	return func(v []byte) [][]byte {
		var out [][]byte
		for before := range group {
			text := encode(nil, append(make([]byte, before), v...))
			from := (before*8 + width - 1) / width
			to := (before + len(v)) * 8 / width
			out = append(out, text[from:to])
		}
		return out
	}
}

func reversed(v []byte) []byte {
	r := bytes.Clone(v)
	slices.Reverse(r)
	return r
}

func rot13(v []byte) []byte {
	r := bytes.Clone(v)
	for i, c := range r {
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'm':
			r[i] += 13
		case c|0x20 >= 'n' && c|0x20 <= 'z':
			r[i] -= 13
		}
	}
	return r
}

// pieces cuts a long value into the stretches that are looked for.
func pieces(v []byte) [][]byte {
	if len(v) <= pieceSize*3/2 {
		return [][]byte{v}
	}
	n := min(maxPieces, len(v)/pieceSize)
	if n == 1 {
		from := (len(v) - pieceSize) / 2
		return [][]byte{v[from : from+pieceSize]}
	}
	var out [][]byte
	for i := range n {
		from := (len(v) - pieceSize) * (2*i + 1) / (2 * n) // the ends are armour: the same for every key
		out = append(out, v[from:from+pieceSize])
	}
	return out
}

// patterns makes every form of one secret's value.
func patterns(secret int, value []byte) []pattern {
	var out []pattern
	for _, v := range pieces(value) {
		for _, f := range forms {
			for i, turn := range []struct {
				name string
				v    func([]byte) []byte
			}{
				{"", func(b []byte) []byte { return b }},
				{"reversed", reversed},
				{"rot13", rot13},
				{"rot13+reversed", func(b []byte) []byte { return reversed(rot13(b)) }},
			} {
				if i > 0 && !f.turned {
					break
				}
				name := f.name
				if turn.name != "" && name != "" {
					name += "+"
				}
				for _, text := range f.encode(turn.v(v)) {
					p, ok := makePattern(squeeze(text), len(v))
					if !ok {
						continue
					}
					p.secret, p.form, p.edge = int32(secret), name+turn.name, f.edge
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// makePattern finds the anchor. An eighth of a long value may be missing at its ends: who leaves a
// character out to get past a scanner has still given the value away. Any such part has the middle
// in it, so that the anchor is the most varied eight bytes of the middle.
func makePattern(text []byte, length int) (pattern, bool) {
	if len(text) < minimum || variety(text) < distinct {
		return pattern{}, false
	}
	missing := 0
	if length >= 24 {
		missing = len(text) / 8
	}
	best, at := -1, 0
	for i := missing; i+8 <= len(text)-missing; i++ {
		if v := variety(text[i : i+8]); v > best {
			best, at = v, i
		}
	}
	return pattern{text: text, anchor: int32(at), need: int32(len(text) - missing)}, best >= 3
}

// variety counts the different bytes of s.
func variety(s []byte) int {
	var seen [256]bool
	n := 0
	for _, c := range s {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}
