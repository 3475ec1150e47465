package unpack

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// encoders are real ones, by the coding they make; "raw" is deflate without zlib's header.
var encoders = map[string]func(io.Writer) io.WriteCloser{
	"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"raw": func(w io.Writer) io.WriteCloser {
		z, _ := flate.NewWriter(w, 6)
		return z
	},
	"br": func(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, 4) },
	"zstd": func(w io.Writer) io.WriteCloser {
		z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		return z
	},
}

// coded applies codings to text, the first first.
func coded(t testing.TB, text []byte, codings ...string) []byte {
	t.Helper()
	for _, c := range codings {
		var b bytes.Buffer
		w := encoders[c](&b)
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		text = b.Bytes()
	}
	return text
}

// decode writes body at the boundaries that seed makes and returns what came out.
func decode(codings []string, l Limits, body []byte, seed uint64) ([]byte, error) {
	var out []byte
	d, err := NewDecoder(codings, l, func(p []byte) error {
		out = append(out, p...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for piece := range pieces(body, seed) {
		if _, err := d.Write(piece); err != nil {
			d.Abort()
			return out, err
		}
	}
	return out, d.Close()
}

// pieces cuts b at random; seed 0 leaves it whole.
func pieces(b []byte, seed uint64) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		rng := rand.New(rand.NewPCG(seed, 1))
		for len(b) > 0 {
			n := len(b)
			if seed > 0 {
				n = min(len(b), 1+rng.IntN(1<<rng.IntN(15)))
			}
			if !yield(slices.Clone(b[:n])) { // a clone, so that who keeps it is found by -race
				return
			}
			b = b[n:]
		}
	}
}

// prose is n bytes that compress about as text does.
func prose(n int) []byte {
	words := strings.Fields("the warden decides about every stream on it and nothing leaks past because a bottle has no network 42 1998 {} []")
	rng := rand.New(rand.NewPCG(7, 7))
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = append(append(b, words[rng.IntN(len(words))]...), ' ')
		if rng.IntN(8) == 0 {
			b = append(b, byte(rng.Uint32()))
		}
	}
	return b[:n]
}

func TestDecoderUndoesEveryCoding(t *testing.T) {
	t.Parallel()
	for _, codings := range [][]string{
		{}, {"gzip"}, {"deflate"}, {"br"}, {"zstd"},
		{"gzip", "gzip"}, {"br", "zstd"}, {"deflate", "br", "gzip", "zstd"},
	} {
		t.Run(strings.Join(codings, ","), func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{0, 1, 100, 70_000, 300_000} {
				text := prose(size)
				body := coded(t, text, codings...)
				for seed := range uint64(4) {
					if got, err := decode(codings, Limits{}, body, seed); err != nil || !bytes.Equal(got, text) {
						t.Errorf("%d bytes, seed %d: got %d bytes, %v", size, seed, len(got), err)
					}
				}
			}
		})
	}
}

func TestDecoderReadsWhatProgramsSend(t *testing.T) {
	t.Parallel()
	a, b := prose(5000), prose(9000)
	for name, c := range map[string]struct {
		coding string
		body   []byte
		want   []byte
	}{
		"deflate without zlib": {"deflate", coded(t, a, "raw"), a},
		"two gzip members":     {"gzip", slices.Concat(coded(t, a, "gzip"), coded(t, b, "gzip")), slices.Concat(a, b)},
		"two zstd frames":      {"zstd", slices.Concat(coded(t, a, "zstd"), coded(t, b, "zstd")), slices.Concat(a, b)},
		"coding of no body":    {"gzip", nil, nil},
	} {
		for seed := range uint64(3) {
			if got, err := decode([]string{c.coding}, Limits{}, c.body, seed); err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%s, seed %d: got %d bytes, %v", name, seed, len(got), err)
			}
		}
	}
}

func TestC04DecoderRefusesWhatBreaksOffOrGoesOn(t *testing.T) {
	t.Parallel()
	text := prose(40_000)
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		body := coded(t, text, coding)
		for seed := range uint64(3) {
			for _, n := range []int{1, 2, 9, 15, len(body) / 2, len(body) - 5, len(body) - 1} {
				if _, err := decode([]string{coding}, Limits{}, body[:n], seed); err == nil {
					t.Errorf("%s: %d of %d bytes pass", coding, n, len(body))
				}
			}
			for _, more := range []string{"x", "\x00", "secret behind the end"} {
				if _, err := decode([]string{coding}, Limits{}, slices.Concat(body, []byte(more)), seed); err == nil {
					t.Errorf("%s: %q behind the end passes", coding, more)
				}
			}
		}
		wrong := bytes.Clone(body)
		wrong[len(wrong)/2] ^= 0x55
		if got, err := decode([]string{coding}, Limits{}, wrong, 0); err == nil && bytes.Equal(got, text) {
			t.Errorf("%s: a changed byte changes nothing", coding)
		}
	}
	named := append([]byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3}, "name without an end"...)
	if _, err := decode([]string{"gzip"}, Limits{}, named, 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a gzip header that breaks off: %v", err)
	}
}

func TestC04DeflateThatReadsTwoWaysIsRefused(t *testing.T) {
	t.Parallel()
	// To a raw reader: a stored block of 0x0101 bytes.
	body := append([]byte{0x78, 0x01, 0x01, 0xfe, 0xfe}, make([]byte, 300)...)
	if _, err := decode([]string{"deflate"}, Limits{}, body, 0); !errors.Is(err, errDeflate) {
		t.Errorf("got %v", err)
	}
}

func TestC04DecoderStopsBombs(t *testing.T) {
	t.Parallel()
	zeros := make([]byte, 12<<20)
	for name, codings := range map[string][]string{
		"gzip": {"gzip"}, "brotli": {"br"}, "zstd": {"zstd"}, "gzip in gzip": {"gzip", "gzip"}, "zstd in brotli": {"zstd", "br"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := coded(t, zeros, codings...)
			var bomb *BombError
			got, err := decode(codings, Limits{}, body, 1)
			if !errors.As(err, &bomb) {
				t.Fatalf("%d bytes become %d, %v", len(body), len(got), err)
			}
			if allowed := slack + 200*len(body) + 1<<20; len(got) > allowed {
				t.Errorf("%d bytes became %d before it stopped", len(body), len(got))
			}
			if _, err := decode(codings, Limits{Ratio: 1 << 30}, body, 1); err != nil {
				t.Errorf("with a ratio that allows it: %v", err)
			}
			if _, err := decode(codings, Limits{Ratio: 1 << 30, Bytes: 1 << 20}, body, 1); !errors.As(err, &bomb) {
				t.Errorf("over the bytes: %v", err)
			}
		})
	}
}

func TestC04DecoderBoundsWindows(t *testing.T) {
	t.Parallel()
	var bomb *BombError
	// A zstd frame that announces a window of 2 GiB, and one of brotli with 16 MiB.
	huge := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00}
	if _, err := decode([]string{"zstd"}, Limits{}, huge, 0); !errors.As(err, &bomb) {
		t.Errorf("zstd: %v", err)
	}
	var b bytes.Buffer
	w := brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 5, LGWin: 24})
	_, _ = w.Write(prose(1000))
	_ = w.Close()
	if _, err := decode([]string{"br"}, Limits{}, b.Bytes(), 0); !errors.As(err, &bomb) {
		t.Errorf("brotli: %v", err)
	}
	if _, err := decode([]string{"br"}, Limits{Window: 16 << 20}, b.Bytes(), 0); err != nil {
		t.Errorf("brotli, allowed: %v", err)
	}
	for lgwin := 10; lgwin <= 24; lgwin++ {
		var b bytes.Buffer
		w := brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 5, LGWin: lgwin})
		_, _ = w.Write(prose(1000))
		_ = w.Close()
		if got := brotliWindow(b.Bytes()[0]); got != 1<<lgwin {
			t.Errorf("window of lgwin %d is %d", lgwin, got)
		}
	}
}

func TestCoding(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lines   []string
		want    []string
		unknown string // or "!" for another error
	}{
		{lines: nil},
		{lines: []string{""}},
		{lines: []string{"identity"}},
		{lines: []string{"gzip"}, want: []string{"gzip"}},
		{lines: []string{" X-GZip\t, BR"}, want: []string{"gzip", "br"}},
		{lines: []string{"deflate", "zstd, identity"}, want: []string{"deflate", "zstd"}},
		{lines: []string{"x-foo"}, unknown: "x-foo"},
		{lines: []string{"gzip, compress"}, unknown: "compress"},
		{lines: []string{"raw"}, unknown: "raw"},
		{lines: []string{"gzip,"}, unknown: "!"},
		{lines: []string{"gzip;q=1"}, unknown: "!"},
		{lines: []string{"gzip br"}, unknown: "!"},
		{lines: []string{"gzip\x00"}, unknown: "!"},
		{lines: []string{"\u212agzip"}, unknown: "!"},
		{lines: []string{"gzip,gzip,gzip,gzip"}, want: []string{"gzip", "gzip", "gzip", "gzip"}},
		{lines: []string{"gzip,gzip,gzip,gzip", "gzip"}, unknown: "!"},
	} {
		got, err := Coding(c.lines)
		var unknown *UnknownError
		switch isUnknown := errors.As(err, &unknown); {
		case c.unknown == "" && (err != nil || !slices.Equal(got, c.want)):
			t.Errorf("%q: got %q, %v", c.lines, got, err)
		case c.unknown == "!" && (err == nil || isUnknown):
			t.Errorf("%q: got %q, %v", c.lines, got, err)
		case c.unknown != "" && c.unknown != "!" && (!isUnknown || unknown.Coding != c.unknown):
			t.Errorf("%q: got %q, %v", c.lines, got, err)
		}
	}
	if _, err := NewDecoder([]string{"x-foo"}, Limits{}, nil); !errors.As(err, new(*UnknownError)) {
		t.Errorf("decoder: %v", err)
	}
}

func TestDecoderHandsOnWhatTheSinkSays(t *testing.T) {
	t.Parallel()
	stop := errors.New("found")
	for _, codings := range [][]string{{}, {"gzip"}} {
		d, err := NewDecoder(codings, Limits{}, func([]byte) error { return stop })
		if err != nil {
			t.Fatal(err)
		}
		_, werr := d.Write(coded(t, prose(200_000), codings...))
		if cerr := d.Close(); !errors.Is(werr, stop) || !errors.Is(cerr, stop) {
			t.Errorf("%q: %v, %v", codings, werr, cerr)
		}
	}
}

// TestDecodersLeaveNothing is not parallel: it counts goroutines.
func TestDecodersLeaveNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		body := coded(t, prose(100_000), coding)
		for i := range 50 {
			d, err := NewDecoder([]string{coding}, Limits{}, func([]byte) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			w := NewWalker("", Limits{}, func(Member) (io.Writer, error) { return io.Discard, nil })
			s := NewSplitter(Media{ContentType: "multipart/form-data; boundary=x"}, Limits{}, func(_, _ []byte) bool { return true })
			for _, in := range []io.Writer{d, w, s} {
				_, _ = in.Write(body[:i*100])
			}
			if i%2 == 0 {
				_, _, _ = d.Close(), w.Close(), s.Close()
			}
			d.Abort()
			w.Abort()
			s.Abort()
			if _, err := d.Write(body); err == nil && i%2 == 1 {
				t.Error("an aborted decoder writes")
			}
		}
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines, %d before", now, before)
	}
}
