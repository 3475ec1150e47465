package escape

import (
	"strconv"
	"strings"
)

// Bounds on the numbers of a sequence.
const (
	maxParams = 32    // what the emulators behind us take
	maxNumber = 9999  // "as far as it goes" is spelled 999 or 9999
	maxRepeat = 512   // REP turns seven bytes into this many characters
	maxColour = 65535 // in SGR
)

// sequence handles the CSI sequence of body, which is everything between introducer and final.
func (f *Filter) sequence(dst, body []byte, final byte) []byte {
	var prefix, mid byte
	if len(body) > 0 && body[0] >= '<' {
		prefix, body = body[0], body[1:]
	}
	if n := len(body); n > 0 && body[n-1] < '0' {
		mid, body = body[n-1], body[:n-1]
	}
	limit := maxNumber
	switch final {
	case 'b':
		limit = maxRepeat
	case 'm':
		limit = maxColour
	}
	params, ok := clamp(body, limit)
	if !ok {
		return dst
	}
	switch {
	case mid != 0:
		return f.intermediate(dst, prefix, params, mid, final)
	case prefix == '?':
		return f.private(dst, params, final)
	case prefix != 0:
		return f.keyboard(dst, prefix, params, final)
	}
	return f.standard(dst, params, final)
}

// clamp returns body's parameters with no number above limit. Not ok means body is no list of
// numbers or too long a one.
func clamp(body []byte, limit int) (params string, ok bool) {
	count, value, digits, high := 1, 0, 0, false
	for _, c := range body {
		switch {
		case c >= '0' && c <= '9':
			digits++
			value = min(value*10+int(c-'0'), limit+1)
			high = high || value > limit
		case c == ';' || c == ':':
			count++
			value, digits = 0, 0
		default:
			return "", false
		}
	}
	if count > maxParams {
		return "", false
	}
	if high {
		body = rewrite(body, limit)
	}
	return string(body), true
}

func rewrite(body []byte, limit int) []byte {
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); {
		if body[i] == ';' || body[i] == ':' {
			out = append(out, body[i])
			i++
			continue
		}
		n := 0
		for ; i < len(body) && body[i] >= '0' && body[i] <= '9'; i++ {
			n = min(n*10+int(body[i]-'0'), limit)
		}
		out = strconv.AppendInt(out, int64(n), 10)
	}
	return out
}

// standard handles the sequences without a private marker.
func (f *Filter) standard(dst []byte, params string, final byte) []byte {
	switch final {
	case '@', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'P', 'S', 'X', 'Z',
		'`', 'a', 'b', 'd', 'e', 'f', 'm':
		return emit(dst, "", params, final)
	case 'r':
		return f.region(dst, params)
	case 'T': // with more numbers it is a way to track the mouse that hangs the terminal
		if single(params) {
			return emit(dst, "", params, final)
		}
	case 's':
		if params == "" { // with numbers it sets margins
			return append(dst, "\x1b7"...)
		}
	case 'u':
		if params == "" {
			return append(dst, "\x1b8"...)
		}
	case 'h', 'l':
		if params == "4" { // insert mode; 20 would change what Enter sends
			return emit(dst, "", params, final)
		}
	case 'c':
		if params == "" || params == "0" {
			return f.query(dst, "\x1b[c")
		}
	case 'n':
		if params == "5" || params == "6" {
			return f.query(dst, "\x1b[", params, "n")
		}
	case 't': // sizes only: a title report would type the title into the program
		if params == "14" || params == "16" || params == "18" {
			return f.query(dst, "\x1b[", params, "t")
		}
	}
	return dst
}

// region handles the setting of the rows that scroll.
func (f *Filter) region(dst []byte, params string) []byte {
	top, bottom, _ := strings.Cut(params, ";")
	if n, err := strconv.Atoi(bottom); err == nil && f.Rows > 0 && n > f.Rows {
		params = top + ";" + strconv.Itoa(f.Rows)
	}
	return emit(dst, "", params, 'r')
}

// private handles the sequences marked with a question mark.
func (f *Filter) private(dst []byte, params string, final byte) []byte {
	switch final {
	case 'h', 'l':
		for p := range fields(params) {
			dst = mode(dst, p, final)
		}
	case 'n':
		if params == "6" || params == "996" { // where the cursor is; dark or light
			return f.query(dst, "\x1b[?", params, "n")
		}
	case 'u': // which keyboard flags are on
		if params == "" {
			return f.query(dst, "\x1b[?u")
		}
	case 'm':
		if params == "4" {
			return f.query(dst, "\x1b[?4m")
		}
	}
	return dst
}

// mode handles one private mode.
func mode(dst []byte, p string, final byte) []byte {
	switch p {
	case "1", "5", "6", "7", "9", "12", "25", "66", "1000", "1002", "1003", "1004", "1005", "1006", "1007",
		"1015", "1016", "2004", "2026", "2027", "2031":
		return emit(dst, "?", p, final)
	case "47", "1047", "1049":
		return emit(dst, "?", "1049", final)
	case "1048":
		if final == 'h' {
			return append(dst, "\x1b7"...)
		}
		return append(dst, "\x1b8"...)
	}
	return dst
}

// keyboard handles the sequences marked with '<', '=' and '>': the kitty keyboard protocol,
// xterm's modified keys, and two questions after the terminal's make.
func (f *Filter) keyboard(dst []byte, prefix byte, params string, final byte) []byte {
	switch {
	case final == 'u':
		return emit(dst, string(prefix), params, final)
	case prefix == '>' && final == 'm' && len(params) > 0 && params[0] == '4' && (len(params) == 1 || params[1] == ';'):
		return emit(dst, ">", params, final)
	case prefix == '>' && final == 'n' && params == "4":
		return append(dst, "\x1b[>4m"...)
	case prefix == '>' && (final == 'c' || final == 'q') && (params == "" || params == "0"):
		return f.query(dst, "\x1b[>", params, string(final))
	}
	return dst
}

// intermediate handles the sequences with an intermediate byte.
func (f *Filter) intermediate(dst []byte, prefix byte, params string, mid, final byte) []byte {
	switch {
	case prefix == 0 && mid == ' ' && final == 'q' && single(params): // cursor style
		return append(append(append(dst, "\x1b["...), params...), " q"...)
	case prefix == 0 && mid == '!' && final == 'p':
		return append(dst, softReset...)
	case mid == '$' && final == 'p' && single(params): // whether a mode is on
		if prefix == 0 {
			return f.query(dst, "\x1b[", params, "$p")
		}
		if prefix == '?' {
			return f.query(dst, "\x1b[?", params, "$p")
		}
	}
	return dst
}

func emit(dst []byte, prefix, params string, final byte) []byte {
	dst = append(dst, esc, '[')
	dst = append(dst, prefix...)
	dst = append(dst, params...)
	return append(dst, final)
}

// single reports whether params is at most one number.
func single(params string) bool {
	for i := range len(params) {
		if params[i] < '0' || params[i] > '9' {
			return false
		}
	}
	return true
}

// fields yields the numbers of a list.
func fields(params string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		from := 0
		for i := 0; i <= len(params); i++ {
			if i == len(params) || params[i] == ';' {
				if !yield(params[from:i]) {
					return
				}
				from = i + 1
			}
		}
	}
}
