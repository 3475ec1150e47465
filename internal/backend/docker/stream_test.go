package docker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// frame is one as an engine sends it.
func frame(stream byte, text string) string {
	return string(binary.BigEndian.AppendUint32([]byte{stream, 0, 0, 0}, uint32(len(text)))) + text
}

// attach reads what an engine sends as a container's standard files.
func attach(r io.Reader) *attached {
	return newAttached(client.HijackedResponse{Reader: bufio.NewReader(r)}, &spawn.Words{})
}

func TestOutputAndErrorsAreToldApart(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 5000)
	for name, c := range map[string]struct{ sent, output, errors string }{
		"nothing":                     {"", "", ""},
		"output":                      {frame(1, "out"), "out", ""},
		"in several frames":           {frame(1, "o") + frame(1, "ut") + frame(1, "put"), "output", ""},
		"errors":                      {frame(2, "trouble\n"), "", "trouble"},
		"both":                        {frame(2, "a ") + frame(1, "o") + frame(2, "b ") + frame(2, "c ") + frame(1, "ut"), "out", "a b c "},
		"frames of nothing":           {frame(1, "") + frame(2, "") + frame(1, "out") + frame(1, "") + frame(2, ""), "out", ""},
		"a frame in a frame":          {frame(1, frame(2, "no trouble")), frame(2, "no trouble"), ""},
		"more than a buffer":          {frame(1, long) + frame(1, long), long + long, ""},
		"more errors than are kept":   {frame(2, long) + frame(1, "out"), "out", long[:8<<10]},
		"errors, more and more":       {strings.Repeat(frame(2, long[:5<<10])+frame(1, "."), 50), strings.Repeat(".", 50), long[:5<<10] + long[:3<<10]},
		"bytes that are in no header": {"\x01abc" + frame(1, "out")[4:], "out", ""}, // the three zeros are Docker's to keep
	} {
		for way, reader := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader, "halved": iotest.HalfReader, "with its end": iotest.DataErrReader,
		} {
			a := attach(reader(strings.NewReader(c.sent)))
			got, err := io.ReadAll(a)
			if string(got) != c.output || err != nil {
				t.Errorf("%s, %s: %d bytes of %d, %v", name, way, len(got), len(c.output), err)
			}
			if a.words.String() != strings.TrimSuffix(c.errors, "\n") {
				t.Errorf("%s, %s: kept %d bytes of errors, want %d", name, way, len(a.words.String()), len(c.errors))
			}
		}
	}
}

func TestAStreamThatIsNoneIsAnError(t *testing.T) {
	t.Parallel()
	for _, stream := range []byte{0, 3, 4, 'H', 255} {
		got, err := io.ReadAll(attach(strings.NewReader(frame(1, "out") + frame(stream, "x"))))
		if string(got) != "out" || err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("stream %d: %q, %v", stream, got, err)
		}
	}
}

func TestAFrameCutShortIsNoEnd(t *testing.T) {
	t.Parallel()
	for _, whole := range []string{frame(1, "out"), frame(2, "trouble"), frame(2, strings.Repeat("x", maxErrorFrame+10))} {
		for n := 1; n < len(whole); n += max(1, len(whole)/16) {
			if got, err := io.ReadAll(attach(strings.NewReader(frame(1, "whole") + whole[:n]))); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("stream %d, %d bytes of %d: %q, %v", whole[0], n, len(whole), got, err)
			}
		}
	}
	cut := errors.New("the engine is gone")
	if _, err := io.ReadAll(attach(io.MultiReader(strings.NewReader(frame(1, "out")[:9]), iotest.ErrReader(cut)))); !errors.Is(err, cut) {
		t.Errorf("an error of the connection's is told as %v", err)
	}
}

// What a frame claims costs nothing.
func TestAFrameOfErrorsIsNotHeldWhole(t *testing.T) {
	t.Parallel()
	a := attach(io.MultiReader(strings.NewReader("\x02\x00\x00\x00\xff\xff\xff\xff"), io.LimitReader(zeros{}, 1<<20)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<30 { // others' tests take some as well
		t.Errorf("a frame that claims 4 GiB took %d bytes", took)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWritesGoToTheContainerAndClosingEndsBoth(t *testing.T) {
	t.Parallel()
	ours, engines := net.Pipe()
	a := newAttached(client.NewHijackedResponse(ours, ""), &spawn.Words{})
	go func() { _, _ = io.WriteString(a, "in") }()
	got := make([]byte, 2)
	if _, err := io.ReadFull(engines, got); string(got) != "in" || err != nil {
		t.Errorf("the container got %q, %v", got, err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		read <- err
	}()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; err == nil {
		t.Error("a read outlived the stream")
	}
	if _, err := engines.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("the engine still has the connection: %v", err)
	}
	if err := a.Close(); err == nil {
		t.Error("the second closing found something to close")
	}
}

// FuzzAttached reads what anything on an engine's side may send.
func FuzzAttached(f *testing.F) {
	f.Add([]byte(frame(1, "out")+frame(2, "trouble")+frame(1, "put")), uint8(3))
	f.Add([]byte("\x02\x00\x00\x00\xff\xff\xff\xffx"), uint8(1))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"), uint8(0))
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		a := attach(bytes.NewReader(sent))
		var out []byte
		buf := make([]byte, int(piece)+1)
		for {
			n, err := a.Read(buf)
			out = append(out, buf[:n]...)
			if err != nil {
				break
			}
		}
		// Whole frames, in the order they came, are all that can be told.
		var want []byte
		for rest := sent; len(rest) >= 8 && (rest[0] == 1 || rest[0] == 2); {
			size := int(binary.BigEndian.Uint32(rest[4:]))
			text := rest[8:min(len(rest), 8+size)]
			if rest[0] == 1 {
				want = append(want, text...)
			}
			rest = rest[8+len(text):]
		}
		if !bytes.Equal(out, want) || len(a.words.String()) > 8<<10 {
			t.Errorf("%q became %q, want %q", sent, out, want)
		}
	})
}
