package archive

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
)

// words are the names an attacker plays with.
var words = []string{
	"a", "b", "a/b", "b/a", ".", "./", "..", "../outside", "../outside/secret", "../outside/new", "a/..", "a/../..",
	"a/../../outside", "/", "/etc", "", "a//b", "work", "work/a", "work/b/a", "work/../a", "a/secret", "b/new", "a\\b", "\x00", "ä",
	"../outside/empty", "outside", "a/outside/empty", strings.Repeat("x", 256), strings.Repeat("a/", 100),
}

var kinds = []byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo, tar.TypeXGlobalHeader, tar.TypeChar, 'S'}

// written makes an archive of a script: four bytes an entry.
func written(script []byte) []byte {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for ; len(script) >= 4; script = script[4:] {
		h := tar.Header{
			Typeflag: kinds[int(script[0])%len(kinds)], Name: words[int(script[1])%len(words)], Mode: int64(script[3]) << 4,
		}
		switch h.Typeflag {
		case tar.TypeReg:
			h.Size = 1
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = words[int(script[2])%len(words)]
		}
		if tw.WriteHeader(&h) == nil && h.Size > 0 {
			_, _ = tw.Write([]byte("x")) // into memory
		}
	}
	_ = tw.Close() // into memory
	return b.Bytes()
}

// FuzzUnpack unpacks archives of an attacker's making. Whatever is in them, nothing beside the
// folder changes. Bytes that are no archive are archive/tar's own to withstand.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0x64, 1, 2, 0, 0x75, 2, 1, 7, 0, 0, 22, 0, 0xff}, false)
	f.Add([]byte{2, 0, 7, 0, 1, 0, 0, 0xff, 0, 21, 0, 0, 3, 1, 8, 0}, true)
	f.Fuzz(func(t *testing.T, script []byte, passOver bool) {
		y := newYard(t)
		if passed, err := y.unpack(written(script[:min(len(script), 64)]), Options{PassOver: passOver}); passed > 0 && !passOver {
			t.Errorf("passed over %d, %v", passed, err)
		}
	})
}
