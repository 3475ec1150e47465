package unpack

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// zipped is what a zip says twice about a member, before it and in its directory.
type zipped struct {
	at, size int64 // of the local header; of the stored bytes
	name     uint64
	method   uint16
}

// A directory is what was read of one. Programs that can seek believe it, not the local headers: a
// member it lists where none was seen, or as another, is one they read and we didn't.
type directory struct {
	start  int64 // where in the layer, once listed has any
	listed []zipped
	last64 int64 // where in the layer a zip64 end record is, 0 without
	start64,
	size64 int64 // what that says of the directory
}

// central reads an entry of the directory. Offsets in it count from the start of the zip, which need
// not be the start of the layer; end finds out.
func (z *zipReader) central() {
	if len(z.seen) == 0 && !z.sure {
		z.skip(signatureSize)
		return
	}
	at := z.pos.at()
	var h [centralSize]byte
	ends, ok := z.record(h[:], 28, 30, 32)
	if !ok {
		return
	}
	if len(z.listed) == 0 {
		z.start = at
	}
	if z.full(len(z.listed)) {
		return
	}
	le := binary.LittleEndian
	e := zipped{name: maphash.Bytes(zipNames, ends[0]), method: le.Uint16(h[10:])}
	z64 := zip64{extra: ends[1]}
	z64.widen(le.Uint32(h[24:]))
	e.size = z64.widen(le.Uint32(h[20:]))
	e.at = z64.widen(le.Uint32(h[42:]))
	if i := len(z.listed); i >= len(z.seen) || z.seen[i].name != e.name { // which is where it mostly is
		z.w.named(Member{Name: string(ends[0]), In: inside(z.in, Zip), Verbatim: true})
	}
	z.listed = append(z.listed, e)
}

// end64 reads the record that replaces end's numbers in a large zip.
func (z *zipReader) end64() {
	if len(z.listed) == 0 {
		z.skip(signatureSize)
		return
	}
	at := z.pos.at()
	h, err := z.b.Peek(end64Size)
	if err == nil {
		z.last64 = at
		z.size64 = int64(binary.LittleEndian.Uint64(h[40:]))
		z.start64 = int64(binary.LittleEndian.Uint64(h[48:]))
	}
	z.skip(signatureSize)
}

// end reads the end record and compares. The comment behind it is searched on: programs look for
// the last end record, and a comment may hold one.
func (z *zipReader) end() {
	h, err := z.b.Peek(endSize)
	at := z.pos.at()
	if err != nil || len(z.seen) == 0 && !z.sure {
		z.skip(signatureSize)
		return
	}
	le := binary.LittleEndian
	count, size, start := le.Uint16(h[10:]), int64(le.Uint32(h[12:])), int64(le.Uint32(h[16:]))
	d := z.directory
	z.directory = directory{}
	z.skip(endSize)
	if d.last64 > 0 {
		at = d.last64
		if size == 0xffffffff {
			size = d.size64
		}
		if start == 0xffffffff {
			start = d.start64
		}
	}
	if int(count) != len(d.listed)&0xffff && (count != 0xffff || d.last64 == 0) {
		z.w.shut(Zip, z.in, Ambiguous)
		return
	}
	if len(d.listed) > 0 && (d.start+size != at || !z.agrees(d.listed, d.start-start)) {
		z.w.shut(Zip, z.in, Ambiguous)
	}
}

// agrees reports whether every listed member, shifted by as much as the zip starts after the layer,
// was seen as it is listed.
func (z *zipReader) agrees(listed []zipped, shift int64) bool {
	for _, e := range listed {
		e.at += shift
		i, ok := slices.BinarySearchFunc(z.seen, e.at, func(s zipped, at int64) int { return cmp.Compare(s.at, at) })
		if !ok || z.seen[i] != e {
			return false
		}
	}
	return true
}
