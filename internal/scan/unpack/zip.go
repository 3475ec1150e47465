package unpack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"hash/maphash"
	"io"
	"math"
)

// Lengths of zip's records without their variable ends (APPNOTE.TXT 4.3.7 to 4.3.16).
const (
	signatureSize = 4
	localSize     = 30
	centralSize   = 46
	end64Size     = 56
	endSize       = 22
)

// Bits of a member's flags (APPNOTE.TXT 4.4.4).
const (
	flagEncrypted  = 1<<0 | 1<<6 | 1<<13
	flagDescriptor = 1 << 3
	flagsUnused    = 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<14 | 1<<15
)

var signatureLocal = []byte("PK\x03\x04")

var zipNames = maphash.MakeSeed()

// A zipReader reads the zips in one layer.
type zipReader struct {
	w     *walker
	pos   *position
	b     *bufio.Reader
	depth int
	in    string
	sure  bool     // it is a zip, not bytes that look like one
	seen  []zipped // members, in the order of their offsets
	directory
}

// zip reads what is left of a layer and visits the members of the zips in it. Where there is none it
// costs a search for two bytes. Sure says that the layer starts with one.
func (w *walker) zip(pos *position, sure bool, depth int, in string) {
	z := &zipReader{w: w, pos: pos, b: pos.b, depth: depth, in: in, sure: sure}
	ended := !sure
	for z.next() {
		switch sig, _ := z.b.Peek(signatureSize); sig[2] {
		case 3:
			z.local()
		case 1:
			z.central()
		case 6:
			z.end64()
		case 5:
			z.end()
			ended = true
		}
	}
	if !ended {
		w.shut(Zip, in, Damaged)
	}
}

// next goes to the next signature that zip cares for.
func (z *zipReader) next() bool {
	for z.w.fail == nil {
		if buf, err := z.b.Peek(signatureSize); err != nil {
			z.skip(len(buf))
			return false
		}
		buf, _ := z.b.Peek(z.b.Buffered())
		i := bytes.Index(buf, []byte("PK"))
		switch {
		case i < 0:
			i = len(buf)
			if buf[i-1] == 'P' {
				i--
			}
		case len(buf)-i < signatureSize: // its rest is still to be read
		default:
			switch string(buf[i+2 : i+4]) {
			case "\x03\x04", "\x01\x02", "\x06\x06", "\x05\x06":
				z.skip(i)
				return true
			}
			i += 2
		}
		z.skip(i)
	}
	return false
}

// skip passes over n bytes that are buffered.
func (z *zipReader) skip(n int) { _, _ = z.b.Discard(n) }

// record reads a record of len(head) bytes, and the variable ends whose lengths it holds at the
// offsets in lens, at most 64 KiB each. A local header inside an end is one that a directory could
// point to.
func (z *zipReader) record(head []byte, lens ...int) (ends [3][]byte, ok bool) {
	if _, err := io.ReadFull(z.b, head); err != nil {
		return ends, false
	}
	for i, at := range lens {
		n := binary.LittleEndian.Uint16(head[at:])
		if n == 0 {
			continue
		}
		ends[i] = make([]byte, n)
		if _, err := io.ReadFull(z.b, ends[i]); err != nil {
			return ends, false
		}
		if bytes.Contains(ends[i], signatureLocal) {
			z.w.shut(Zip, z.in, Ambiguous)
		}
	}
	return ends, true
}

// full ends the walk when n members are all that there may be.
func (z *zipReader) full(n int) bool {
	if n >= z.w.limits.Members {
		z.w.fail = &BombError{What: "archive members", Limit: int64(n)}
	}
	return z.w.fail != nil
}

// plausible tells a local header from bytes that happen to start like one.
func plausible(h []byte) bool {
	le := binary.LittleEndian
	return h[4] <= 63 && le.Uint16(h[6:])&flagsUnused == 0 && le.Uint16(h[8:]) <= 99 && le.Uint16(h[26:]) > 0
}

// local reads a local header and the member behind it.
func (z *zipReader) local() {
	le, w := binary.LittleEndian, z.w
	var h [localSize]byte
	peeked, err := z.b.Peek(localSize)
	copy(h[:], peeked)
	if err != nil || !z.sure && !plausible(h[:]) {
		z.skip(signatureSize)
		return
	}
	if z.depth == w.limits.Depth {
		w.shut(Zip, z.in, TooDeep)
		z.skip(signatureSize)
		return
	}
	if z.full(len(z.seen)) {
		return
	}
	at := z.pos.at()
	ends, ok := z.record(h[:], 26, 28)
	if !ok {
		return
	}
	name, extra := ends[0], ends[1]
	flags, method := le.Uint16(h[6:]), le.Uint16(h[8:])
	size := int64(le.Uint32(h[18:]))
	z64 := zip64{extra: extra}
	z64.widen(le.Uint32(h[22:]))
	size = z64.widen(uint32(size))
	open := flags&flagDescriptor != 0 && size == 0 // its size stands behind it
	m := Member{Name: string(name), In: inside(z.in, Zip), Verbatim: true}
	start := z.pos.at()

	if flags&flagEncrypted != 0 {
		w.shut(Zip, m.In, Encrypted)
		w.named(m)
	} else {
		z.content(m, method, size, open)
	}
	used := z.pos.at() - start
	switch {
	case open:
		size = used
	case used < size:
		_, _ = io.CopyN(io.Discard, z.b, size-used) // a shorter layer ends the search as well
	case used > size:
		w.shut(Zip, m.In, Ambiguous)
	}
	z.seen = append(z.seen, zipped{at, size, maphash.Bytes(zipNames, name), method})
}

// content visits a member of size bytes, or of as many as it takes when its size is open.
func (z *zipReader) content(m Member, method uint16, size int64, open bool) {
	var r io.Reader
	var err error
	release := func() {}
	switch {
	case method == 0 && open:
		r = &described{b: z.b}
	case method == 0:
		r = io.LimitReader(z.b, size)
	case method == 8:
		// It shows its end itself: no buffer of its own is needed to stay within size.
		r, release, err = rawInflate(z.b, z.w.limits)
	case (method == 12 || method == 93) && !open:
		b, done := buffered(io.LimitReader(z.b, size))
		defer done()
		undo := unbzip2
		if method == 93 {
			undo = unzstd
		}
		r, release, err = undo(b, z.w.limits)
	default:
		z.w.shut(Zip, m.In, Unsupported)
		z.w.named(m)
		return
	}
	if err != nil {
		z.w.shut(Zip, m.In, Damaged)
		z.w.named(m)
		return
	}
	defer release()
	m.Verbatim = method == 0
	c := &content{w: z.w, r: r, decoded: !m.Verbatim}
	z.w.member(m, c, z.depth+1)
	if c.damaged && z.sure {
		z.w.shut(Zip, m.In, Damaged)
	}
}

// described reads a stored member whose length is told behind it (APPNOTE.TXT 4.3.9): it ends at
// the first descriptor that fits what came before.
type described struct {
	b   *bufio.Reader
	n   uint32
	crc uint32
	end bool
}

func (d *described) Read(p []byte) (int, error) {
	if d.end {
		return 0, io.EOF
	}
	buf, err := d.b.Peek(12)
	if len(buf) == 0 {
		return 0, err
	}
	buf, _ = d.b.Peek(d.b.Buffered())
	i := bytes.Index(buf, []byte("PK\x07\x08"))
	if i == 0 && len(buf) >= 12 && binary.LittleEndian.Uint32(buf[4:]) == d.crc && binary.LittleEndian.Uint32(buf[8:]) == d.n {
		d.end = true
		return 0, io.EOF
	}
	switch {
	case i == 0:
		i = min(len(buf), 4)
	case i < 0 && len(buf) > 3:
		i = len(buf) - 3 // of which a signature may be the start
	case i < 0:
		i = len(buf)
	}
	n := copy(p, buf[:i])
	d.n += uint32(n)
	d.crc = crc32.Update(d.crc, crc32.IEEETable, p[:n])
	_, _ = d.b.Discard(n) // they are buffered
	return n, nil
}

// zip64 reads the extra field that holds what 32 bits can't (APPNOTE.TXT 4.5.3).
type zip64 struct {
	extra []byte
	found bool
}

// widen is v, or the field's next number where v says to look there. Values stand in the order of
// the fixed fields, so widen must be called for all of them, in that order.
func (z *zip64) widen(v uint32) int64 {
	if v != math.MaxUint32 {
		return int64(v)
	}
	le := binary.LittleEndian
	for !z.found && len(z.extra) >= 4 {
		id, n := le.Uint16(z.extra), int(le.Uint16(z.extra[2:]))
		rest := z.extra[4:]
		n = min(n, len(rest))
		if z.found = id == 1; z.found {
			z.extra = rest[:n]
		} else {
			z.extra = rest[n:]
		}
	}
	if !z.found || len(z.extra) < 8 {
		return int64(v)
	}
	wide := le.Uint64(z.extra)
	z.extra = z.extra[8:]
	return int64(min(wide, math.MaxInt64))
}
