package smolvm

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// artifactOf is a file with that manifest, and a footer that says so.
func artifactOf(manifest string) []byte {
	b := []byte("stub and assets")
	at := len(b)
	b = append(b, manifest...)
	b = append(b, footerMagic...)
	b = binary.LittleEndian.AppendUint32(b, 1)
	for _, n := range []int{4, 4, at - 4, at, len(manifest)} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return append(b, make([]byte, 4+8)...)
}

func TestAnArtifactSaysWhatItIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a"+ArtifactSuffix)
	if err := os.WriteFile(path, artifactOf(`{"platform":"linux/amd64","network":true,"cpus":2,"mem":2048,"smolvm_version":"1.9.2","env":["A=b"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := ReadArtifact(path)
	if err != nil || a.Platform != "linux/amd64" || !a.Network || a.CPUs != 2 || a.Memory != 2048 || a.Version != "1.9.2" {
		t.Errorf("%+v, %v", a, err)
	}
	whole := artifactOf(`{}`)
	behind := bytes.Clone(whole)
	binary.LittleEndian.PutUint64(behind[len(behind)-footerSize+footerNumbers+8*4:], 1<<60)
	wrapped := bytes.Clone(whole)
	binary.LittleEndian.PutUint64(wrapped[len(wrapped)-footerSize+footerNumbers+8*3:], ^uint64(0)-1)
	for name, b := range map[string][]byte{
		"nothing": nil, "half": whole[:len(whole)/2], "no footer": append(bytes.Clone(whole), 0),
		"a manifest behind the end": behind, "numbers that overflow": wrapped, "no JSON": artifactOf("no"),
	} {
		if _, err := readArtifact(bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := ReadArtifact(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("none: %v", err)
	}
}

// FuzzArtifact reads what anybody may have put into the cache.
func FuzzArtifact(f *testing.F) {
	f.Add(artifactOf(`{"platform":"linux/arm64","cpus":1}`))
	f.Add([]byte(strings.Repeat(footerMagic, 20)))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = readArtifact(bytes.NewReader(b), int64(len(b))) })
}
