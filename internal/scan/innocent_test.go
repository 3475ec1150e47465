package scan_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"go/build"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// Megabytes of what bottles send all day have none of ten random secrets in them, nor so many layers
// that scanning gives up.
func TestC16InnocentTexts(t *testing.T) {
	t.Parallel()
	s := scanner(t, tenSecrets()...)
	m := s.NewMemory()
	check := func(name string, text []byte) {
		t.Helper()
		if found := s.Scan(nil, text); len(found) > 0 {
			t.Errorf("%s: %+v", name, found)
		}
		if found := m.Add(name, text); len(found) > 0 {
			t.Errorf("%s, remembered: %+v", name, found)
		}
	}
	total := 0
	root := filepath.Join(build.Default.GOROOT, "src")
	for _, dir := range []string{"net/http", "encoding", "html", "crypto/tls", "unicode"} {
		err := fs.WalkDir(os.DirFS(root), dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || total > 8<<20 {
				return err
			}
			text, err := os.ReadFile(filepath.Join(root, path))
			total += len(text)
			check(path, text)
			return err
		})
		if err != nil {
			t.Fatal("no Go source here: ", err)
		}
	}
	for name, text := range texts(t) {
		check(name, grown(text, 1<<20))
	}
	var list bytes.Buffer
	noise := rand.NewChaCha8([32]byte{9})
	for i := range 3000 {
		var b [32]byte
		_, _ = noise.Read(b[:])
		sum := sha256.Sum256(b[:])
		fmt.Fprintf(&list, "pkg%d v1.2.%d h1:%s\n  integrity sha512-%s\n%x-%x-%x-%x-%x %s\n", i, i,
			base64.StdEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(append(sum[:], b[:]...)),
			b[:4], b[4:6], b[6:8], b[8:10], b[10:16], hex.EncodeToString(sum[:20]))
	}
	check("lockfile", list.Bytes())
	check("zeros", make([]byte, 1<<20))
	check("zeros in base64", []byte(base64.StdEncoding.EncodeToString(make([]byte, 1<<20))))
	check("a picture of few colours in base64", []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{200, 180, 40, 255}, 1<<18))))
	memory := make([]byte, 1<<20) // as a program's data has it
	for i := range memory {
		if i%97 < 5 {
			memory[i] = byte(i)
		}
	}
	check("memory in base64", []byte(base64.StdEncoding.EncodeToString(memory)))
	var chinese, russian strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&chinese, "\\u%04x", 0x4e00+i*7919%20_000)
		fmt.Fprintf(&russian, "%%D0%%%02X", 0x90+i*7919%40)
	}
	check("Chinese in JSON", []byte(chinese.String()))
	check("Russian in a form", []byte(russian.String()))
	check("a form", []byte(url.QueryEscape(list.String())))
	check("dump", []byte(strings.Repeat(hex.Dump(list.Bytes()[:4096]), 20)))
}

// What a hostile sender can make of a megabyte is looked at in time proportional to it, or given up.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	s := scanner(t, tenSecrets()...)
	for _, text := range []string{
		"%", "%25", `\`, `\\u005c`, "&amp;", "&#", "=", "=\n", "=3D", "A", "4A", "Zm9v", "AB", "a-", "\x00", "\x00a", "\xff\x01", "\xe2\x80\x8b",
		"7b", "33", "MZXW", "1,", "0x41,", "H4sI", "%3", "%25%32%35",
	} {
		s.Scan(nil, bytes.Repeat([]byte(text), (64<<10)/len(text)))
	}
}

func TestEntropic(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 9))
	seen := 0
	for range 200 {
		if scan.Entropic([]byte(random(r, alphabets[0], 24+r.IntN(60)))) {
			seen++
		}
	}
	if seen < 180 {
		t.Errorf("of 200 random tokens %d are seen", seen)
	}
	for _, v := range []string{
		"", "short", "550e8400-e29b-41d4-a716-446655440000", "e9c62d4f8a1b2c3d4e5f60718293a4b5c6d7e8f9", strings.Repeat("a1", 20),
		"1234567890123456789012345678901234567890", "the-quick-brown-fox-jumps-over-the-lazy-dog-2026", "getElementsByClassNameAndTagName2",
		"ThisIsAVeryLongCamelCaseIdentifier1", hex.EncodeToString(make([]byte, 32)),
	} {
		if scan.Entropic([]byte(v)) {
			t.Errorf("%q is not random", v)
		}
	}
	s, err := scan.New(scan.Config{Entropy: true, Secrets: []scan.Secret{{Name: "k", Value: secret.New(key)}}})
	if err != nil {
		t.Fatal(err)
	}
	if found := s.Scan(nil, []byte("q7Xw2Lk9Zt4Rb8Nv1Mc6Hs3Jd5.evil.test")); len(found) != 1 || found[0].Kind != scan.Entropy {
		t.Errorf("%+v", found)
	}
	if found := s.Scan(nil, []byte(key)); len(found) != 1 || found[0].Kind != scan.Known {
		t.Errorf("%+v", found)
	}
}
