package decode

import (
	"encoding/binary"
	"slices"
)

// Kept is what is kept of a text: the bytes that are in a set, without what repeats itself.
type Kept struct {
	Bytes []byte

	// Where the bytes come from is asked for findings alone, so it's worked out when it is.
	text  []byte
	set   *[256]bool
	short bool
	at    []uint16
	own   []byte // what Bytes are part of, unless they are all of text
}

// Keep makes k the bytes of text that are in set. text must stay as it is for as long as Source is
// asked.
func (k *Kept) Keep(text []byte, set *[256]bool) {
	k.text, k.set, k.short, k.at = text, set, false, k.at[:0]
	k.fill()
}

// All makes k all of text, which has no byte that is not in set.
func (k *Kept) All(text []byte, set *[256]bool) {
	k.text, k.set, k.short, k.at = text, set, false, k.at[:0]
	k.Bytes = text
}

// Forget lets go of the text.
func (k *Kept) Forget() { k.text, k.Bytes = nil, nil }

func (k *Kept) fill() {
	out := slices.Grow(k.own[:0], len(k.text))[:len(k.text)]
	n := 0
	for _, c := range k.text { // no branch: which bytes are kept can't be guessed
		out[n] = c
		one := 0
		if k.set[c] {
			one = 1
		}
		n += one
	}
	k.own, k.Bytes = out, out[:n]
}

const (
	period = 16 // bytes after which what repeats itself does
	most   = 64 // bytes of a repetition that are kept
)

// Shorten cuts what repeats itself in k every sixteen bytes, or every one, two, four or eight, down to
// the beginning of it. No secret does; the digits of pictures and of memory do, by the megabyte, and
// read as text in many ways.
func (k *Kept) Shorten() {
	if k.repeats() {
		k.short = true
		k.fill() // Bytes may be those of the text
		k.shorten()
	}
}

// repeats reports whether there may be something to cut. That is a row of more than 64 bytes that are
// each the same as the one sixteen before; the eight that follow some multiple of 32 are all in it.
func (k *Kept) repeats() bool {
	b := k.Bytes
	for i := 32; i+8 <= len(b); i += 32 {
		if binary.NativeEndian.Uint64(b[i:]) == binary.NativeEndian.Uint64(b[i-period:]) {
			return true
		}
	}
	return false
}

func (k *Kept) shorten() {
	var last [period]byte
	n, same := 0, 0
	for i, c := range k.Bytes {
		if same++; i < period || last[i%period] != c {
			same = 0
		}
		last[i%period] = c
		if same > most {
			continue
		}
		if n < i {
			k.Bytes[n] = c
			if len(k.at) > 0 {
				k.at[n] = k.at[i]
			}
		}
		n++
	}
	k.Bytes = k.Bytes[:n]
	if len(k.at) > 0 {
		k.at = k.at[:n]
	}
}

// Source is the span of the text that Bytes[start:end] were kept of; start is before end.
func (k *Kept) Source(start, end int) (int, int) {
	if len(k.at) == 0 {
		for i, c := range k.text {
			if k.set[c] {
				k.at = append(k.at, uint16(i))
			}
		}
		if k.short {
			k.fill()
			k.shorten()
		}
	}
	return int(k.at[start]), int(k.at[end-1]) + 1
}

func set(members string) *[256]bool {
	var t [256]bool
	for i := range len(members) {
		t[members[i]] = true
	}
	return &t
}

// Sets of bytes for Keep.
var (
	Alphanumeric = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
	Base64Digits = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
	HexDigits    = set("0123456789abcdefABCDEF")
	RotatedHex   = set("0123456789nopqrsNOPQRS")
)
