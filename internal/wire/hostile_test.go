package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func frameOf(t muxType, id uint32, payload string) []byte {
	return append(appendHead(nil, t, id, len(payload)), payload...)
}

func grant(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// Each row is what a hostile cork sends after its hello; the warden has opened stream 1.
var violations = []struct{ name, sends, says string }{
	{"unknown frame", string(frameOf(99, 1, "")), "unknown frame type"},
	{"second hello", string(appendHello(nil, Cork)), "second hello"},
	{"hello with a stream", string(frameOf(muxHello, 2, "cbw\x01\x02")), "on stream 2"},
	{"data on stream 0", string(frameOf(muxData, 0, "x")), "on stream 0"},
	{"empty data", string(frameOf(muxData, 1, "")), "0 bytes"},
	{"data beyond a frame", string(appendHead(nil, muxData, 1, maxData+1)), "65537 bytes"},
	{"data beyond the window", strings.Repeat(string(frameOf(muxData, 1, strings.Repeat("x", maxData))), 2), "whose window has 0 left"},
	{"data after the end", string(frameOf(muxEOF, 1, "")) + string(frameOf(muxData, 1, "x")), "after its end"},
	{"two ends", string(frameOf(muxEOF, 1, "")) + string(frameOf(muxEOF, 1, "")), "ended twice"},
	{"end with payload", string(frameOf(muxEOF, 1, "x")), "allowed are 0 to 0"},
	{"never opened, theirs", string(frameOf(muxData, 2, "x")), "never opened"},
	{"never opened, ours", string(frameOf(muxReset, 3, "x")), "never opened"},
	{"grant of nothing", string(frameOf(muxWindow, 1, grant(0))), "0 more bytes granted"},
	{"grant beyond bounds", string(frameOf(muxWindow, 1, grant(fullWindow))), "more bytes granted"},
	{"grant that overflows", string(frameOf(muxWindow, 1, grant(1<<32-1))), "more bytes granted"},
	{"short grant", string(frameOf(muxWindow, 1, "x")), "1 bytes"},
	{"our number", string(frameOf(muxOpen, 5, "\x01k")), "out of order"},
	{"number twice", string(frameOf(muxOpen, 4, "\x01k")) + string(frameOf(muxOpen, 4, "\x01k")), "out of order"},
	{"number backwards", string(frameOf(muxOpen, 4, "\x01k")) + string(frameOf(muxOpen, 2, "\x01k")), "out of order"},
	{"empty kind", string(frameOf(muxOpen, 2, "\x00k")), "kind of 0 bytes"},
	{"kind beyond its frame", string(frameOf(muxOpen, 2, "\x09kind")), "kind of 9 bytes"},
	{"kind too long", string(frameOf(muxOpen, 2, "\x21"+strings.Repeat("k", 40))), "kind of 33 bytes"},
	{"oversize header", string(appendHead(nil, muxOpen, 2, 1<<20)), "frame type 2"},
	{"header over cork's bound", string(frameOf(muxOpen, 2, "\x01k"+strings.Repeat("h", 4<<10+1))), "header of 4097 bytes"},
	{"long reason", string(appendHead(nil, muxReset, 1, maxReason+1)), "513 bytes"},
}

func TestViolationEndsTheSessionAndSaysWhich(t *testing.T) {
	t.Parallel()
	for _, v := range violations {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s, hostile := againstHostile(t)
			st := open(t, s, "job", nil)
			_, _ = hostile.Write(append(appendHello(nil, Cork), v.sends...))
			<-s.Done()
			if err := s.Err(); !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), v.says) {
				t.Errorf("ended with %q, expected a violation saying %q", err, v.says)
			}
			ended := strings.HasPrefix(v.sends, string(frameOf(muxEOF, 1, "")))
			if _, err := io.Copy(io.Discard, st); err == nil && !ended {
				t.Error("the stream ended as if all were well")
			}
		})
	}
}

func againstHostile(t *testing.T) (*Session, net.Conn) {
	a, b := conns(t)
	s := NewSession(a, Warden)
	t.Cleanup(func() { _ = s.Close(); _ = s.Wait() })
	return s, b
}

func TestStrangersAreNotTalkedTo(t *testing.T) {
	t.Parallel()
	for name, hello := range map[string]string{
		"http":          "HTTP/1.1 400 Bad Request\r\n\r\n",
		"same side":     string(appendHello(nil, Warden)),
		"other version": string(frameOf(muxHello, 0, "cbw\x02\x02")),
		"other magic":   string(frameOf(muxHello, 0, "xxx\x01\x02")),
		"no hello":      string(frameOf(muxOpen, 2, "\x01k")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, hostile := againstHostile(t)
			_, _ = hostile.Write([]byte(hello))
			<-s.Done()
			if !errors.Is(s.Err(), ErrProtocol) {
				t.Error(s.Err())
			}
		})
	}
}

// A late frame for a stream that ended here is no violation: the other side could not know.
func TestLateFramesForEndedStreamsAreDropped(t *testing.T) {
	t.Parallel()
	s, hostile := againstHostile(t)
	st := open(t, s, "job", nil)
	_ = st.Close()
	var b []byte
	b = appendHello(b, Cork)
	b = append(b, frameOf(muxData, 1, "late")...)
	b = append(b, frameOf(muxWindow, 1, grant(5))...)
	b = append(b, frameOf(muxEOF, 1, "")...)
	b = append(b, frameOf(muxReset, 1, "late")...)
	b = append(b, frameOf(muxOpen, 2, "\x04next")...)
	_, _ = hostile.Write(b)
	if got := accept(t, s); got.Kind() != "next" {
		t.Fatal(got.Kind())
	}
}

// Opening streams without end while reading nothing must not grow memory without end.
func TestFloodOfOpensFromAPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	s, hostile := againstHostile(t)
	_, _ = hostile.Write(appendHello(nil, Cork))
	_ = hostile.SetWriteDeadline(time.Now().Add(30 * time.Second))
	for id := uint32(2); ; id += 2 {
		if _, err := hostile.Write(frameOf(muxOpen, id, "\x05flood")); err != nil {
			break
		}
	}
	<-s.Done()
	if !errors.Is(s.Err(), ErrProtocol) {
		t.Fatal(s.Err())
	}
}

func TestTinyFramesDoNotAmplify(t *testing.T) {
	t.Parallel()
	s, hostile := againstHostile(t)
	st := open(t, s, "job", nil)
	b := appendHello(nil, Cork)
	for range firstWindow {
		b = append(b, frameOf(muxData, 1, "x")...)
	}
	_, _ = hostile.Write(append(b, frameOf(muxOpen, 2, "\x04mark")...))
	accept(t, s)
	st.mu.Lock()
	held, size := st.in.n, len(st.in.buf)
	st.mu.Unlock()
	if held != firstWindow || size > firstWindow {
		t.Errorf("%d bytes are held in %d", held, size)
	}
}

// hostileWire is a transport whose other side says data and then nothing.
type hostileWire struct{ *bytes.Reader }

func (hostileWire) Write(p []byte) (int, error) { return len(p), nil }
func (hostileWire) Close() error                { return nil }

func FuzzSession(f *testing.F) {
	for _, v := range violations {
		f.Add([]byte(v.sends), true)
	}
	f.Add(append(frameOf(muxOpen, 2, "\x04echo"), frameOf(muxData, 2, "hello")...), true)
	f.Add([]byte("garbage"), false)
	f.Fuzz(func(t *testing.T, data []byte, greeted bool) {
		if greeted {
			data = append(appendHello(nil, Cork), data...)
		}
		s := NewSession(hostileWire{bytes.NewReader(data)}, Warden)
		s.Handle("echo", echo)
		st, err := s.Open(t.Context(), "job", nil)
		if err == nil {
			_, _ = io.Copy(io.Discard, st)
			_ = st.Close()
		}
		if err := s.Wait(); err == nil {
			t.Fatal("the session ended without a reason")
		}
		if s.growth < 0 || s.accepted < 0 {
			t.Fatalf("accounts are off: growth %d, accepted %d", s.growth, s.accepted)
		}
	})
}

func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	w := NewFrameWriter(&b)
	_ = w.Resize(24, 80)
	_ = w.Exit(Exit{Code: 1})
	_ = w.Write(FrameStdin, []byte("hello"))
	f.Add(b.Bytes())
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewFrameReader(bytes.NewReader(data), 1<<10)
		var again bytes.Buffer
		w := NewFrameWriter(&again)
		for {
			fr, err := r.Next()
			if err != nil {
				break
			}
			if len(fr.Payload) > 1<<10 {
				t.Fatalf("a payload of %d bytes passed", len(fr.Payload))
			}
			_, _, _ = fr.ResizeOf()
			_, _ = fr.CreditOf()
			_, _ = fr.ExitOf()
			_ = w.Write(fr.Type, fr.Payload)
		}
		if !bytes.HasPrefix(data, again.Bytes()) {
			t.Fatal("frames read and written again differ")
		}
	})
}

func FuzzDatagram(f *testing.F) {
	f.Add(appendDatagram(nil, 7, []byte("query")))
	f.Fuzz(func(t *testing.T, data []byte) {
		buf := make([]byte, maxDatagram)
		from, n, err := readDatagram(bytes.NewReader(data), buf)
		if err == nil && !bytes.HasPrefix(data, appendDatagram(nil, from, buf[:n])) {
			t.Fatal("a datagram read and written again differs")
		}
	})
}
