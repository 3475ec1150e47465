package known

// A Block says what 32 bytes of text are made of, so that later passes need not read them again.
// The low 32 bits are set for each byte that is a digit of base64 in either alphabet, the first byte
// highest.
type Block uint64

// Flags of a Block: one of its bytes is such that it may begin a disguise.
const (
	HasEscape Block = 1 << (32 + iota) // '%', '\' or '&'
	HasUTF8                            // a lead byte of invisible or lookalike characters
	HasEquals                          // '=', as in quoted-printable
	HasWide                            // NUL or 0xFF, as in UTF-16
)

// BlockSize is how many bytes a Block describes.
const BlockSize = 32

// An entry of the squeeze table: in the low byte the shift that makes room for the folded byte, 8 or 0;
// then the folded byte; from bit 16 on the flags of a Block; and in the top bits, where it's a digit of
// base64, the bit of the byte's place in a stride.
const (
	digitBit  = 1 << 31
	foldShift = 8
)

const flagBits = uint32((HasEscape | HasUTF8 | HasEquals | HasWide) >> 16)

// table has the entries of a byte for each of its places in a stride, so that those of a stride can be
// put together without shifting each.
var table = func() (t [stride][256]uint32) {
	for place := range t {
		digit := uint32(digitBit >> place)
		keep := func(c, folded rune) { t[place][c] = digit | uint32(folded)<<foldShift | 8 }
		for c := '0'; c <= '9'; c++ {
			keep(c, c)
		}
		for c := 'a'; c <= 'z'; c++ {
			keep(c, c)
			keep(c-'a'+'A', c)
		}
		for _, c := range "+/-_" {
			t[place][c] = digit
		}
		for flag, bytes := range map[Block]string{
			HasEscape: `%\&`,
			HasUTF8:   "\xC2\xE2\xEF\xF0\xF3",
			HasEquals: "=",
			HasWide:   "\x00\xFF",
		} {
			for i := range len(bytes) {
				t[place][bytes[i]] |= uint32(flag >> 16)
			}
		}
	}
	return t
}()

// fold is the lower-case letter or digit that c counts as, or 0 where c is dropped.
func fold(c byte) byte { return byte(table[0][c] >> foldShift) }

// squeeze is what is left of s: its letters in lower case and its digits.
func squeeze(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for _, c := range s {
		if f := fold(c); f != 0 {
			out = append(out, f)
		}
	}
	return out
}

// grams are what the rolling window is asked about: its last five bytes, looked at after every
// fourth byte of text. Whatever was dropped between, one of four grams in a row is seen.
const (
	gramSize = 5
	stride   = 4
	gramMask = 1<<(8*gramSize) - 1
)

// gram is the first bytes of s as the rolling window holds them.
func gram(s []byte) (g uint64) {
	for _, c := range s[:gramSize] {
		g = g<<8 | uint64(c)
	}
	return g
}
