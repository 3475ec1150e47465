package client

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Keys recognises the keys that detach: one with Ctrl, then a plain one. Programs that turn on a
// newer keyboard protocol make terminals send Ctrl-] as "ESC [ 93 ; 5 u" or "ESC [ 27 ; 5 ; 93 ~";
// these count too. Typing the first key twice types it once. Its zero value recognises nothing.
type Keys struct {
	first, second byte // as typed with Ctrl: ']' and 'd'
	pending       []byte
}

// DefaultKeys are Ctrl-] then d: telnet's way out, which no shell, editor or coding agent uses.
const DefaultKeys = "ctrl-] d"

// ParseKeys reads "ctrl-] d": Ctrl with a letter or one of [ \ ] ^ _, then a small letter or digit.
func ParseKeys(s string) (Keys, error) {
	first, second, ok := strings.Cut(s, " ")
	letter, ctrl := strings.CutPrefix(first, "ctrl-")
	if !ok || !ctrl || len(letter) != 1 || len(second) != 1 {
		return Keys{}, fmt.Errorf("detach keys %q are not like %q", s, DefaultKeys)
	}
	k := Keys{first: letter[0], second: second[0]}
	if !(k.first >= 'a' && k.first <= 'z' || strings.IndexByte(`\]^_`, k.first) >= 0) {
		return Keys{}, fmt.Errorf(`detach keys %q: after "ctrl-" comes a-z or one of \ ] ^ _`, s)
	}
	if !(k.second >= 'a' && k.second <= 'z' || k.second >= '0' && k.second <= '9') {
		return Keys{}, fmt.Errorf("detach keys %q: the second is a-z or 0-9", s)
	}
	return k, nil
}

// String returns the keys as an operator reads them: "Ctrl-] d".
func (k *Keys) String() string {
	return "Ctrl-" + strings.ToUpper(string(rune(k.first))) + " " + string(rune(k.second))
}

// Scan looks for the keys in what was typed. It returns what to pass on, and whether to leave. The
// first key is held back until the next one tells what it was.
func (k *Keys) Scan(p []byte) (pass []byte, leave bool) {
	if k.first == 0 {
		return p, false
	}
	if k.pending == nil && bytes.IndexByte(p, k.first&0x1f) < 0 && bytes.IndexByte(p, 0x1b) < 0 {
		return p, false
	}
	for len(p) > 0 {
		key, n := nextKey(p)
		typed := p[:n]
		p = p[n:]
		switch {
		case k.pending == nil && key == (keystroke{k.first, true}):
			k.pending = append([]byte{}, typed...)
		case k.pending == nil:
			pass = append(pass, typed...)
		case key == (keystroke{k.second, false}):
			k.pending = nil
			return pass, true
		case key == (keystroke{k.first, true}):
			pass = append(pass, k.pending...)
			k.pending = nil
		case key == silent:
			// A key let go, or Ctrl itself: part of the first key's being pressed.
		default:
			pass = append(append(pass, k.pending...), typed...)
			k.pending = nil
		}
	}
	return pass, false
}

// keystroke is a key by the character on it, with or without Ctrl. The zero keystroke is any other.
type keystroke struct {
	char byte
	ctrl bool
}

// silent is a keystroke that types nothing.
var silent = keystroke{ctrl: true}

// nextKey returns the first keystroke of p, which is not empty, and how many bytes it takes.
func nextKey(p []byte) (keystroke, int) {
	switch c := p[0]; {
	case c == 0x1b:
		return sequenceKey(p)
	case c == 0 || c == '\t' || c == '\r' || c == '\n':
		return keystroke{}, 1
	case c < 0x1b:
		return keystroke{c | 0x60, true}, 1
	case c < ' ':
		return keystroke{c | 0x40, true}, 1
	case c < 0x7f:
		return keystroke{c, false}, 1
	}
	return keystroke{}, 1
}

// sequenceKey reads an escape sequence, which terminals send in one piece.
func sequenceKey(p []byte) (keystroke, int) {
	if len(p) < 3 || p[1] != '[' {
		return keystroke{}, 1
	}
	end := bytes.IndexFunc(p[2:], func(r rune) bool { return r >= '@' && r <= '~' })
	if end < 0 || end > 32 {
		return keystroke{}, 1
	}
	n := 2 + end + 1
	fields := strings.Split(string(p[2:n-1]), ";")
	switch {
	case p[n-1] == 'u':
		return enhanced(fields), n
	case p[n-1] == '~' && len(fields) == 3 && fields[0] == "27":
		return enhanced([]string{fields[2], fields[1]}), n
	}
	return keystroke{}, n
}

// Numbers of the keyboard protocol.
const (
	ctrlBit      = 4
	lockBits     = 64 | 128 // caps lock, num lock
	firstModKey  = 57441    // left shift
	lastModKey   = 57454    // level 5 shift
	eventRelease = "3"
)

// enhanced reads a key code and its modifiers, "93" and "5:1".
func enhanced(fields []string) keystroke {
	code, _, _ := strings.Cut(fields[0], ":")
	char, err := strconv.Atoi(code)
	if err != nil {
		return keystroke{}
	}
	mods := 0
	if len(fields) > 1 {
		m, event, _ := strings.Cut(fields[1], ":")
		if event == eventRelease {
			return silent
		}
		if n, err := strconv.Atoi(m); err == nil {
			mods = (n - 1) &^ lockBits
		}
	}
	switch {
	case char >= firstModKey && char <= lastModKey:
		return silent
	case char <= ' ' || char >= 0x7f || mods&^ctrlBit != 0:
		return keystroke{}
	}
	return keystroke{byte(char), mods&ctrlBit != 0}
}
