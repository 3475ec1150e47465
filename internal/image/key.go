package image

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// format is part of every key: it changes when the same sources are to make other images.
const format = "claude-bottle image 1"

// tagDigits is how much of a key a tag shows. Two keys that begin alike are told apart by the
// label, and take the tag from each other.
const tagDigits = 12

// keyHash makes a key of a sequence of texts. Each is written with its length, so that no two
// sequences look alike.
type keyHash struct{ h hash.Hash }

func newKey(kind string) keyHash {
	k := keyHash{sha256.New()}
	k.add(format, kind)
	return k
}

func (k keyHash) add(texts ...string) {
	for _, t := range texts {
		k.number(int64(len(t)))
		k.h.Write([]byte(t))
	}
}

func (k keyHash) number(n int64) {
	k.h.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// entries adds what a tree holds: names, kinds, permissions, link targets and bytes, and nothing of
// times or owners.
func (k keyHash) entries(list []entry) {
	k.number(int64(len(list)))
	for _, e := range list {
		k.add(e.path, e.mode.String(), e.link, e.digest)
	}
}

func (k keyHash) String() string { return hex.EncodeToString(k.h.Sum(nil)) }

// tagOf is the name under which the image with a key is kept.
func tagOf(key string) string { return Repository + ":" + key[:tagDigits] }
