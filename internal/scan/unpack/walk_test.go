package unpack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// visited is what a walk has shown: each member's text under "container|name".
type visited map[string]string

// walked walks through body, at once and written in pieces, which must come to the same.
func walked(t testing.TB, contentType string, l Limits, body []byte) (visited, error) {
	t.Helper()
	once := visited{}
	err := walk(bytes.NewReader(body), l, contentType, once.visit)
	for seed := range uint64(2) {
		again := visited{}
		w := NewWalker(contentType, l, again.visit)
		var werr error
		for p := range pieces(body, seed+1) {
			if _, werr = w.Write(p); werr != nil {
				break
			}
		}
		cerr := w.Close()
		if !maps.Equal(once, again) || fmt.Sprint(err) != fmt.Sprint(cerr) {
			t.Errorf("in pieces %d: %v, at once %v; %d members and %d", seed, cerr, err, len(again), len(once))
		}
	}
	return once, err
}

func (v visited) visit(m Member) (io.Writer, error) {
	key := m.In + "|" + m.Name
	v[key] += ""
	return writerFunc(func(p []byte) (int, error) {
		v[key] += string(p)
		return len(p), nil
	}), nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// file is one for the archives here.
type file struct{ name, text string }

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.text)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(f.text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zipOf writes its members' sizes before them or behind.
func zipOf(t testing.TB, behind bool, method uint16, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: method}
		data := []byte(f.text)
		if behind {
			m, err := w.CreateHeader(h)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = m.Write(data)
			continue
		}
		if method == zip.Deflate {
			data = coded(t, data, "raw")
		}
		h.CompressedSize64, h.UncompressedSize64 = uint64(len(data)), uint64(len(f.text))
		m, err := w.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = m.Write(data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestC04WalkSeesIntoArchives(t *testing.T) {
	t.Parallel()
	big := string(prose(200_000))
	files := []file{{"a/secret.txt", "hunter2 hunter2 hunter2"}, {"big", big}, {"empty", ""}, {"PK.txt", "a PK\x07\x08 and a PK\x01\x02 in it"}}
	in := func(container string) visited {
		v := visited{}
		for _, f := range files {
			v[container+"|"+f.name] = f.text
		}
		return v
	}
	plus := func(v visited, key string, text []byte) visited {
		v[key] = string(text)
		return v
	}
	archive := tarOf(t, files...)
	inner := zipOf(t, true, zip.Deflate, files...)
	for name, c := range map[string]struct {
		body []byte
		want visited
	}{
		"nothing":                {nil, visited{}},
		"text":                   {prose(100_000), visited{}},
		"tar":                    {archive, in("tar")},
		"tar.gz":                 {coded(t, archive, "gzip"), plus(in("gzip/tar"), "gzip|", archive)},
		"tar.zst":                {coded(t, archive, "zstd"), plus(in("zstd/tar"), "zstd|", archive)},
		"zlib":                   {coded(t, archive, "deflate"), plus(in("zlib/tar"), "zlib|", archive)},
		"zip":                    {zipOf(t, false, zip.Deflate, files...), in("zip")},
		"zip, sizes behind":      {inner, in("zip")},
		"zip, stored":            {zipOf(t, false, zip.Store, files...), in("zip")},
		"zip, stored, behind":    {zipOf(t, true, zip.Store, files...), in("zip")},
		"zip behind an image":    {slices.Concat([]byte("\x89PNG\r\n\x1a\n"), prose(50_001), inner), in("zip")},
		"zip behind gzip":        {slices.Concat(coded(t, []byte("x"), "gzip"), inner), plus(in("zip"), "gzip|", []byte("x"))},
		"zip behind tar":         {slices.Concat(tarOf(t), inner), in("zip")},
		"empty zip":              {zipOf(t, true, zip.Store), visited{}},
		"tar in zip":             {zipOf(t, true, zip.Deflate, file{"t", string(archive)}), plus(in("zip/tar"), "zip|t", archive)},
		"zip in tar.gz":          {coded(t, tarOf(t, file{"z", string(inner)}), "gzip"), plus(plus(in("gzip/tar/zip"), "gzip/tar|z", inner), "gzip|", tarOf(t, file{"z", string(inner)}))},
		"zip stored in zip":      {zipOf(t, false, zip.Store, file{"z", string(inner)}), plus(in("zip/zip"), "zip|z", inner)},
		"bytes like a zlib head": {[]byte("x\x9cabc is how a text may start"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := walked(t, "", Limits{}, c.body)
			if err != nil {
				t.Errorf("got %v", err)
			}
			for key, text := range c.want {
				if have, ok := got[key]; !ok || have != text {
					t.Errorf("%s: %d bytes, %v, want %d", key, len(have), ok, len(text))
				}
			}
			if c.want != nil && len(got) != len(c.want) {
				t.Errorf("visited %q", slices.Sorted(maps.Keys(got)))
			}
		})
	}
}

func TestC04WalkReadsMultipartUploads(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	archive := coded(t, tarOf(t, file{"secret", "hunter2"}), "gzip")
	_ = w.WriteField("note", "hello")
	f, _ := w.CreateFormFile("upload", "data.bin")
	_, _ = f.Write(archive)
	_ = w.Close()
	for _, contentType := range []string{w.FormDataContentType(), "", "text/plain"} {
		got, err := walked(t, contentType, Limits{}, b.Bytes())
		if err != nil || got["multipart|note"] != "hello" || got["multipart|data.bin"] != string(archive) || got["multipart/gzip/tar|secret"] != "hunter2" {
			t.Errorf("%q: %v, %q", contentType, err, slices.Sorted(maps.Keys(got)))
		}
	}
}

func TestWalkTellsWhatStandsInPlainSight(t *testing.T) {
	t.Parallel()
	var names []string
	body := slices.Concat(tarOf(t, file{"a", "x"}, file{"b", string(zipOf(t, true, zip.Deflate, file{"c", "y"}))}))
	if err := Walk(bytes.NewReader(body), Limits{}, func(m Member) (io.Writer, error) {
		names = append(names, fmt.Sprint(m.In, " ", m.Name, " ", m.Verbatim))
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"tar a true", "tar b true", "tar/zip c false"}; !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
}

func TestC04WalkSaysWhatItCannotSee(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	good := zipOf(t, false, zip.Deflate, file{"a", "hunter2"}, file{"b", "hunter3"})
	change := func(edit func(b []byte)) []byte {
		b := bytes.Clone(good)
		edit(b)
		return b
	}
	central := bytes.Index(good, []byte("PK\x01\x02"))
	end := len(good) - endSize
	nested := []byte("bottom")
	for range 6 {
		nested = coded(t, nested, "gzip")
	}
	twin := bytes.Clone(good) // whose comment holds the end of another directory
	le.PutUint16(twin[end+20:], endSize)
	twin = append(twin, good[end:]...)
	// An entry for a local header in the extra field of another.
	hidden := zipOf(t, false, zip.Store, file{"x", "PK"})
	extra := append([]byte{0xfe, 0xca, localSize + 1, 0}, append(bytes.Clone(good[:localSize]), 'a')...)
	le.PutUint16(hidden[28:], uint16(len(extra)))
	hidden = slices.Concat(hidden[:localSize+1], extra, hidden[localSize+1:])

	for name, c := range map[string]struct {
		body   []byte
		kind   Kind
		reason Reason
	}{
		"7z":                                    {[]byte("7z\xbc\xaf\x27\x1c\x00\x04"), SevenZip, Unsupported},
		"rar":                                   {[]byte("Rar!\x1a\x07\x01\x00"), RAR, Unsupported},
		"xz":                                    {[]byte("\xfd7zXZ\x00\x00\x04"), XZ, Unsupported},
		"encrypted":                             {change(func(b []byte) { b[6] |= 1; b[central+8] |= 1 }), Zip, Encrypted},
		"unsupported method":                    {change(func(b []byte) { b[8] = 14; b[central+10] = 14 }), Zip, Unsupported},
		"broken gzip":                           {coded(t, prose(5000), "gzip")[:1500], Gzip, Damaged},
		"gzip without data":                     {[]byte("\x1f\x8b\x08"), Gzip, Damaged},
		"broken zip":                            {good[:len(good)-endSize], Zip, Damaged},
		"broken tar":                            {tarOf(t, file{"a", strings.Repeat("x", 5000)})[:2000], Tar, Damaged},
		"deep":                                  {nested, Gzip, TooDeep},
		"another method in the directory":       {change(func(b []byte) { b[central+10] = 0 }), Zip, Ambiguous},
		"another size in the directory":         {change(func(b []byte) { b[central+20]++ }), Zip, Ambiguous},
		"another name in the directory":         {change(func(b []byte) { b[central+centralSize] = 'z' }), Zip, Ambiguous},
		"another offset in the directory":       {change(func(b []byte) { b[central+42]++ }), Zip, Ambiguous},
		"another count":                         {change(func(b []byte) { b[end+10]++ }), Zip, Ambiguous},
		"a directory elsewhere":                 {change(func(b []byte) { b[end+12]++ }), Zip, Ambiguous},
		"a second end":                          {twin, Zip, Ambiguous},
		"a member in an extra field":            {hidden, Zip, Ambiguous},
		"a zip behind text that is not as told": {slices.Concat(prose(100), change(func(b []byte) { b[central+20]++ })), Zip, Ambiguous},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := walked(t, "", Limits{}, c.body)
			var opaque *OpaqueError
			if !errors.As(err, &opaque) || opaque.Kind != c.kind || opaque.Reason != c.reason {
				t.Errorf("got %v, visited %q", err, got)
			}
		})
	}
	if v, _ := walked(t, "", Limits{}, change(func(b []byte) { b[central+centralSize] = 'z' })); v["zip|a"] != "hunter2" || !slices.Contains(slices.Collect(maps.Keys(v)), "zip|z") {
		t.Errorf("of two names got %q", v)
	}
	if v, err := walked(t, "", Limits{}, coded(t, prose(90_000), "gzip")[:9000]); err == nil || len(v["gzip|"]) < 10_000 {
		t.Errorf("before the damage: %v, %d bytes", err, len(v["gzip|"]))
	}
}

// overlapping makes a zip of n members that share their data, as David Fifield's "A better zip bomb"
// (WOOT 2019): each member's deflate data quotes the local headers after its own in stored blocks.
func overlapping(t testing.TB, n int) []byte {
	t.Helper()
	le := binary.LittleEndian
	kernel := coded(t, make([]byte, 1<<20), "raw")
	header := func(i int) []byte {
		h := make([]byte, localSize+4)
		copy(h, "PK\x03\x04\x14")
		h[8] = 8
		h[26] = 4
		copy(h[localSize:], fmt.Sprintf("%04d", i))
		return h
	}
	quoted := localSize + 4 + 5
	var b, dir bytes.Buffer
	for i := range n {
		h := header(i)
		size := (n-1-i)*quoted + len(kernel)
		le.PutUint32(h[18:], uint32(size))
		c := make([]byte, centralSize+4)
		copy(c, "PK\x01\x02\x14\x00\x14")
		c[10] = 8
		le.PutUint32(c[20:], uint32(size))
		c[28] = 4
		le.PutUint32(c[42:], uint32(b.Len()))
		copy(c[centralSize:], h[localSize:])
		dir.Write(c)
		b.Write(h)
		if i < n-1 { // a stored block over the next header
			b.Write([]byte{0, byte(localSize + 4), 0, ^byte(localSize + 4), 0xff})
		}
	}
	b.Write(kernel)
	e := make([]byte, endSize)
	copy(e, "PK\x05\x06")
	le.PutUint16(e[8:], uint16(n))
	le.PutUint16(e[10:], uint16(n))
	le.PutUint32(e[12:], uint32(dir.Len()))
	le.PutUint32(e[16:], uint32(b.Len()))
	b.Write(dir.Bytes())
	b.Write(e)
	return b.Bytes()
}

func TestC04WalkStopsBombs(t *testing.T) {
	t.Parallel()
	zeros := string(make([]byte, 12<<20))
	holes := tarOf(t, file{"a", ""})
	many := make([]file, 2000)
	for i := range many {
		many[i] = file{name: fmt.Sprint(i)}
	}
	for name, c := range map[string]struct {
		body   []byte
		limits Limits
	}{
		"zip":             {zipOf(t, true, zip.Deflate, file{"a", zeros}), Limits{}},
		"gzip in zip":     {zipOf(t, true, zip.Store, file{"a", string(coded(t, []byte(zeros), "gzip", "gzip"))}), Limits{}},
		"tar in gzip":     {coded(t, tarOf(t, file{"a", zeros}), "gzip"), Limits{}},
		"members of zip":  {zipOf(t, true, zip.Store, many...), Limits{Members: 1999}},
		"members of tar":  {tarOf(t, many...), Limits{Members: 1999}},
		"sparse, old GNU": {oldSparse(holes, 1<<40), Limits{}},
		"sparse, 64 MiB":  {oldSparse(holes, 64<<20), Limits{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			err := Walk(bytes.NewReader(c.body), c.limits, func(Member) (io.Writer, error) {
				return writerFunc(func(p []byte) (int, error) {
					n += len(p)
					return len(p), nil
				}), nil
			})
			if bomb := (*BombError)(nil); !errors.As(err, &bomb) || n > slack+400*len(c.body)+1<<20 {
				t.Errorf("%d bytes become %d, %v", len(c.body), n, err)
			}
		})
	}
	// Read in one pass, shared data counts once: nothing is wrong with it but its overlap.
	body := overlapping(t, 200)
	n := 0
	err := Walk(bytes.NewReader(body), Limits{}, func(Member) (io.Writer, error) {
		return writerFunc(func(p []byte) (int, error) {
			n += len(p)
			return len(p), nil
		}), nil
	})
	if opaque := (*OpaqueError)(nil); !errors.As(err, &opaque) || n > 10<<20 {
		t.Errorf("overlapping: %d bytes become %d, %v", len(body), n, err)
	}
}

// oldSparse makes the first member of a tar one of size bytes that are all holes.
func oldSparse(archive []byte, size uint64) []byte {
	h := bytes.Clone(archive[:512])
	h[156] = tar.TypeGNUSparse
	copy(h[257:], "ustar  \x00")
	clear(h[345:512])
	h[483] = 0x80 // the real size, in base 256
	binary.BigEndian.PutUint64(h[483+4:], size)
	copy(h[386:], fmt.Sprintf("%011o\x00%011o\x00", 0, 0)) // one empty piece
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return slices.Concat(h, archive[512:])
}

func TestWalkReadsOtherProgramsArchives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := string(prose(30_000))
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, program, args string }{
		{"bzip2|", "bzip2", "-c f"},
		{"tar|f", "tar", "-cf - f"},
		{"tar|f", "tar", "--format=v7 -cf - f"},
		{"bzip2/tar|f", "tar", "-cjf - f"},
		{"gzip|", "gzip", "-c f"},
		{"zip|f", "zip", "-q - f"},
		{"zstd|", "zstd", "-c f"},
	} {
		if _, err := exec.LookPath(c.program); err != nil {
			t.Logf("no %s here", c.program)
			continue
		}
		cmd := exec.Command(c.program, strings.Fields(c.args)...)
		cmd.Dir = dir
		body, err := cmd.Output()
		if err != nil {
			t.Logf("%s %s: %v", c.program, c.args, err)
			continue
		}
		got, err := walked(t, "", Limits{}, body)
		if err != nil || got[c.key] != text {
			t.Errorf("%s %s: %v, %q", c.program, c.args, err, slices.Sorted(maps.Keys(got)))
		}
	}
}

func TestWalkReadsZip64(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	plain := zipOf(t, false, zip.Store, file{"a", "hunter2"})
	central := bytes.Index(plain, []byte("PK\x01\x02"))
	wide := func(v ...uint64) []byte {
		b := []byte{1, 0, byte(8 * len(v)), 0}
		for _, n := range v {
			b = le.AppendUint64(b, n)
		}
		return b
	}
	local := bytes.Clone(plain[:localSize+1])
	le.PutUint32(local[18:], 0xffffffff)
	le.PutUint32(local[22:], 0xffffffff)
	le.PutUint16(local[28:], 20)
	dir := bytes.Clone(plain[central : central+centralSize+1])
	le.PutUint32(dir[20:], 0xffffffff)
	le.PutUint32(dir[24:], 0xffffffff)
	le.PutUint32(dir[42:], 0xffffffff)
	le.PutUint16(dir[30:], 28)
	body := slices.Concat(local, wide(7, 7), []byte("hunter2"))
	start := len(body)
	body = slices.Concat(body, dir, wide(7, 7, 0))
	end64 := make([]byte, end64Size)
	copy(end64, "PK\x06\x06")
	le.PutUint64(end64[40:], uint64(len(body)-start))
	le.PutUint64(end64[48:], uint64(start))
	end := bytes.Clone(plain[len(plain)-endSize:])
	le.PutUint32(end[12:], 0xffffffff)
	le.PutUint32(end[16:], 0xffffffff)
	body = slices.Concat(body, end64, []byte("PK\x06\x07"), make([]byte, 16), end)
	if got, err := walked(t, "", Limits{}, body); err != nil || got["zip|a"] != "hunter2" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestMagic(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		b    []byte
		want Kind
	}{
		"nothing": {nil, None}, "text": {[]byte("hello world"), None}, "pdf": {[]byte("%PDF-1.7"), PDF},
		"gzip": {coded(t, nil, "gzip"), Gzip}, "zlib": {coded(t, nil, "deflate"), Zlib}, "zstd": {coded(t, []byte("x"), "zstd"), Zstd},
		"zip": {zipOf(t, true, 0, file{"a", ""}), Zip}, "tar": {tarOf(t, file{"a", ""}), Tar},
		"bzip2": {[]byte("BZh91AY&SY...."), Bzip2}, "BZh as text": {[]byte("BZhello world"), None},
		"zeros": {make([]byte, 512), None}, "lz4": {[]byte("\x04\x22\x4d\x18"), LZ4},
	} {
		if got := Magic(c.b); got != c.want {
			t.Errorf("%s is %s", name, got)
		}
	}
}

func TestExpandYieldsWhatDoesNotShow(t *testing.T) {
	t.Parallel()
	text := prose(150_000)
	var got [][]byte
	if err := Expand(coded(t, tarOf(t, file{"name", string(text)}), "gzip"), Limits{}, func(p []byte) { got = append(got, bytes.Clone(p)) }); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(got, func(p []byte) bool { return string(p) == "name" }) {
		t.Error("no name")
	}
	for i := 0; i+1000 < len(text); i += 500 {
		if !slices.ContainsFunc(got, func(p []byte) bool { return bytes.Contains(p, text[i:i+1000]) }) {
			t.Fatalf("the bytes from %d are in no piece", i)
		}
	}
}
