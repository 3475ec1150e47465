package known

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"math/bits"
)

// Grams knows the parts of values: every eight bytes in a row of each, as they are, in hex and in
// base64. A value that leaves in parts of eight bytes or more, in any order, is found by the parts.
// It's immutable and safe for concurrent use.
type Grams struct {
	bits  [1024]uint64
	slots []part
	raw   map[uint64][]Part // of eight bytes that squeeze to less
	may   [64]uint64        // a bitmap of raw's keys
	size  []int             // by value: how many of its bytes are in some part
}

// Part is a part of a value: bytes [From,To) of it.
type Part struct {
	Value    int32
	From, To uint16
}

// part is a Part by the squeezed bytes that stand for it: the last eight, and what of the eight
// before them must agree.
type part struct {
	last, before, mask uint64
	Part
}

const partSize = 8 // bytes of a value

// common are texts that begin many people's tokens or stand in for them, so that their parts say
// nothing.
var common = []string{
	"sk-ant-api03-", "sk-ant-oat01-", "sk-ant-admin01-", "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-v1-",
	"github_pat_", "glpat-", "xoxb-", "xoxp-", "xapp-1-", "pypi-AgEIcHlwaS5vcmc", "npm_", "hf_", "dckr_pat_",
	"-----BEGIN OPENSSH PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----",
	"b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB", "AGE-SECRET-KEY-1", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9",
	"postgres://", "postgresql://", "https://", "password", "localhost", "bottle-placeholder-",
}

// NewGrams makes the parts of values. Values shorter than two parts have none.
func NewGrams(values [][]byte) *Grams {
	g := &Grams{raw: map[uint64][]Part{}, size: make([]int, len(values))}
	var all []part
	for i, v := range values {
		v = bytes.TrimSpace(v)
		if len(v) < 2*partSize || len(v) > 1<<16-1 {
			continue
		}
		covered := make([]bool, len(v))
		for from := 0; from+partSize <= len(v); from++ {
			p := Part{int32(i), uint16(from), uint16(from + partSize)}
			own := v[from:p.To]
			if variety(own) < distinct-1 || isCommon(own) {
				continue
			}
			for j := p.From; j < p.To; j++ {
				covered[j] = true
			}
			if s := squeeze(own); len(s) == partSize {
				all = append(all, makePart(p, s))
			} else {
				k := eight(own)
				g.raw[k] = append(g.raw[k], p)
				g.may[k*mix>>58] |= 1 << (k * mix >> 52 & 63)
			}
			all = append(all, makePart(p, hex.AppendEncode(nil, own)))
			// The ten digits that eight bytes determine, encoded by themselves.
			if s := squeeze(base64.StdEncoding.AppendEncode(nil, own)[:10]); len(s) >= 9 {
				all = append(all, makePart(p, s))
			}
		}
		for _, c := range covered {
			if c {
				g.size[i]++
			}
		}
	}
	g.slots = make([]part, 1<<bits.Len(uint(len(all)*3/2+1)))
	for _, p := range all {
		x := p.last * mix
		g.bits[x>>54] |= 1 << (x >> 48 & 63)
		at := int(x>>24) & (len(g.slots) - 1)
		for g.slots[at].mask != 0 {
			at = (at + 1) & (len(g.slots) - 1)
		}
		g.slots[at] = p
	}
	return g
}

func isCommon(own []byte) bool {
	for _, c := range common {
		if bytes.Contains(bytes.ToLower([]byte(c)), bytes.ToLower(own)) {
			return true
		}
	}
	return false
}

// eight is eight bytes in lower case as a number.
func eight(b []byte) (k uint64) {
	for _, c := range b[:8] {
		if c-'A' < 26 {
			c |= 0x20
		}
		k = k<<8 | uint64(c)
	}
	return k
}

// makePart makes the part that squeezes to s, of 8 to 16 bytes.
func makePart(p Part, s []byte) part {
	out := part{Part: p}
	for i, c := range s {
		if i >= len(s)-8 {
			out.last = out.last<<8 | uint64(c)
		} else {
			out.before, out.mask = out.before<<8|uint64(c), out.mask<<8|0xFF
		}
	}
	out.mask |= 1 << 63 // never 0, which is an empty slot: no squeezed byte has its top bit set
	return out
}

// Size is how many bytes of a value its parts cover: 0 where it has none.
func (g *Grams) Size(value int) int { return g.size[value] }

// Rolling is what Find needs to remember of a text to go on with the next part of it.
type Rolling struct {
	last, before uint64 // squeezed
	raw          uint64
}

// Find calls yield for each part of a value in text, which goes on where r's text ended.
func (g *Grams) Find(r *Rolling, text []byte, yield func(Part)) {
	for _, c := range text {
		if f := fold(c); f != 0 {
			r.before = r.before<<8 | r.last>>56
			r.last = r.last<<8 | uint64(f)
			x := r.last * mix
			if g.bits[x>>54]>>(x>>48&63)&1 != 0 {
				for at := int(x>>24) & (len(g.slots) - 1); g.slots[at].mask != 0; at = (at + 1) & (len(g.slots) - 1) {
					if p := &g.slots[at]; p.last == r.last && (p.before^r.before)&p.mask == 0 {
						yield(p.Part)
					}
				}
			}
		}
		if c-'A' < 26 {
			c |= 0x20
		}
		r.raw = r.raw<<8 | uint64(c)
		if x := r.raw * mix; g.may[x>>58]>>(x>>52&63)&1 != 0 {
			for _, p := range g.raw[r.raw] {
				yield(p)
			}
		}
	}
}
