package unpack

import (
	"bytes"
	"encoding/binary"
)

// Kind is what a piece of data is by its first bytes.
type Kind uint8

// The kinds.
const (
	None     Kind = iota // nothing known: text, or a format nothing is hidden in
	Gzip                 // RFC 1952
	Zlib                 // RFC 1950; two bytes of magic, so often something else
	Zstd                 // RFC 8878
	Bzip2                //
	Zip                  // APPNOTE.TXT
	Tar                  // POSIX pax, ustar, GNU and v7
	XZ                   // not supported
	LZ4                  // not supported; the frame format
	SevenZip             // not supported
	RAR                  // not supported
	PDF                  // not taken apart
	Form                 // multipart bodies of RFC 2046; Magic does not tell it
)

var kinds = [...]string{"other", "gzip", "zlib", "zstd", "bzip2", "zip", "tar", "xz", "lz4", "7z", "rar", "pdf", "multipart"}

func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "other"
}

// MagicSize is how many bytes Magic needs to tell every kind.
const MagicSize = 512

var magics = []struct {
	prefix string
	kind   Kind
}{
	{"\x1f\x8b\x08", Gzip},
	{"PK\x03\x04", Zip},
	{"PK\x05\x06", Zip}, // without members
	{"\x28\xb5\x2f\xfd", Zstd},
	{"BZh", Bzip2},
	{"\xfd7zXZ\x00", XZ},
	{"\x04\x22\x4d\x18", LZ4},
	{"7z\xbc\xaf\x27\x1c", SevenZip},
	{"Rar!\x1a\x07", RAR},
	{"%PDF-", PDF},
}

// Magic tells what b, the start of some data, is. What its sender calls it plays no part.
func Magic(b []byte) Kind {
	if len(b) < 3 {
		return None
	}
	for _, m := range magics {
		if b[0] == m.prefix[0] && bytes.HasPrefix(b, []byte(m.prefix)) && (m.kind != Bzip2 || bzip2Header(b)) {
			return m.kind
		}
	}
	switch {
	case zstdSkippable(b):
		return Zstd
	case zlibHeader(b):
		return Zlib
	case tarHeader(b):
		return Tar
	}
	return None
}

// bzip2Header reports whether b goes on as a bzip2 stream with a block, or empty.
func bzip2Header(b []byte) bool {
	return len(b) >= 10 && '1' <= b[3] && b[3] <= '9' &&
		(string(b[4:10]) == "1AY&SY" || string(b[4:10]) == "\x17\x72\x45\x38\x50\x90")
}

// zstdSkippable reports whether b starts with a frame that zstd passes over (RFC 8878, section
// 3.1.2) and nothing else would start with.
func zstdSkippable(b []byte) bool {
	return len(b) >= 12 && b[0]&0xf0 == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18
}

// zlibHeader reports whether b starts with a zlib header (RFC 1950, section 2.2) for deflate
// without a preset dictionary.
func zlibHeader(b []byte) bool {
	return len(b) >= 2 && b[0]&0x0f == 8 && b[0]>>4 <= 7 && b[1]&0x20 == 0 && binary.BigEndian.Uint16(b)%31 == 0
}

// tarHeader reports whether b starts with a tar header of any age: what they share is the sum of
// their 512 bytes, the sum's own field counted as spaces.
func tarHeader(b []byte) bool {
	if len(b) < 512 || b[0] == 0 {
		return false
	}
	sum, digits := int64(0), 0
	for _, c := range bytes.Trim(b[148:156], " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		sum = sum<<3 | int64(c-'0')
		digits++
	}
	if digits == 0 {
		return false
	}
	unsigned, signed := int64(8*' '), int64(8*' ')
	for i, c := range b[:512] {
		if i < 148 || i >= 156 {
			unsigned += int64(c)
			signed += int64(int8(c)) // what some old programs wrote
		}
	}
	return sum == unsigned || sum == signed
}
