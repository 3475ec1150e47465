package artifact_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/artifact"
)

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 128 << 10, 300_000} {
		path := filepath.Join(t.TempDir(), "x.smolmachine")
		data := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
		err := artifact.Write(path, artifact.Manifest{Image: "a", CPUs: 2}, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		m, assets, err := artifact.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(assets)
		if err != nil || !bytes.Equal(got, data) || m.Image != "a" || m.CPUs != 2 {
			t.Errorf("%d bytes: read %d bytes of %+v (%v)", size, len(got), m, err)
		}
		_ = assets.Close()
	}
}

// Others must be able to read the archive: it is zstd, only without compression.
func TestArchiveIsZstd(t *testing.T) {
	t.Parallel()
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("no zstd here")
	}
	path := filepath.Join(t.TempDir(), "x.smolmachine")
	data := bytes.Repeat([]byte("0123456789"), 50_000)
	err = artifact.Write(path, artifact.Manifest{}, func(w io.Writer) error { _, err := w.Write(data); return err })
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(zstd, "-dc")
	size := binary.LittleEndian.Uint64(whole[len(whole)-64+28:])
	cmd.Stdin = bytes.NewReader(whole[:size])
	got, err := cmd.Output()
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("zstd read %d bytes, want %d (%v)", len(got), len(data), err)
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	err := artifact.Write(path, artifact.Manifest{}, func(w io.Writer) error { _, err := w.Write(make([]byte, 1000)); return err })
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for says, damage := range map[string]func([]byte) []byte{
		"too small":           func(b []byte) []byte { return b[:10] },
		"invalid magic":       func(b []byte) []byte { return b[:len(b)-1] },
		"unsupported version": func(b []byte) []byte { b[len(b)-56] = 9; return b },
		"checksum mismatch":   func(b []byte) []byte { b[500] ^= 1; return b },
		"outside of the file": func(b []byte) []byte { b[len(b)-64+50] = 0xff; return b },
	} {
		if err := os.WriteFile(path, damage(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := artifact.Read(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}
