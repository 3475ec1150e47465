package framing

// class is what a byte may be part of.
type class uint8

const (
	isToken  class = 1 << iota // RFC 9110 section 5.6.2
	isValue                    // of a field: visible characters, space, tab, and bytes above ASCII
	isTarget                   // as a value, without space and tab
)

// classes is by byte, hex a hexadecimal digit's value or -1.
var classes, hex = tables()

// early are fields that mean nothing, or too much, after a body.
var early = map[string]bool{
	"authorization": true, "cache-control": true, "connection": true, "content-encoding": true,
	"content-length": true, "content-range": true, "content-type": true, "cookie": true, "expect": true,
	"forwarded": true, "host": true, "keep-alive": true, "max-forwards": true, "pragma": true, "range": true,
	"te": true, "trailer": true, "transfer-encoding": true, "upgrade": true, "via": true, "x-api-key": true,
	"api-key": true, "x-goog-api-key": true, "origin": true, "referer": true, "set-cookie": true,
}

func tables() (classes [256]class, hex [256]int8) {
	for i := range classes {
		switch b := byte(i); {
		case b >= '0' && b <= '9', b >= 'A' && b <= 'Z', b >= 'a' && b <= 'z':
			classes[i] = isToken | isValue | isTarget
		case b == ' ' || b == '\t':
			classes[i] = isValue
		case b > ' ' && b != 0x7f:
			classes[i] = isValue | isTarget
		}
		hex[i] = -1
	}
	for _, b := range "!#$%&'*+-.^_`|~" {
		classes[b] |= isToken
	}
	for i, b := range "0123456789abcdef" {
		hex[b] = int8(i)
	}
	for i, b := range "ABCDEF" {
		hex[b] = int8(10 + i)
	}
	return classes, hex
}

// all reports whether every byte of b is of class c.
func all(b []byte, c class) bool {
	for _, x := range b {
		if classes[x]&c == 0 {
			return false
		}
	}
	return true
}

// is compares a field's name with a lower-case one.
func is(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, b := range name {
		if b >= 'A' && b <= 'Z' {
			b |= 0x20
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}
