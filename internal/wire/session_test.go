package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// pair returns both sides of a wire over a unix socket.
func pair(t testing.TB) (warden, cork *Session) {
	t.Helper()
	a, b := conns(t)
	warden, cork = NewSession(a, Warden), NewSession(b, Cork)
	t.Cleanup(func() {
		_ = warden.Close()
		_ = cork.Close()
		_ = warden.Wait()
		_ = cork.Wait()
	})
	return warden, cork
}

func conns(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "wire")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	addr := &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.DialUnix("unix", nil, addr); err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

func open(t testing.TB, s *Session, kind string, header any) *Stream {
	t.Helper()
	st, err := s.Open(t.Context(), kind, header)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func accept(t testing.TB, s *Session) *Stream {
	t.Helper()
	st, err := s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func echo(st *Stream) {
	defer st.Close()
	_, _ = io.Copy(st, st)
	_ = st.CloseWrite()
}

func TestStreamCarriesKindHeaderAndHalfClose(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	for _, s := range []struct{ from, to *Session }{{warden, cork}, {cork, warden}} {
		st := open(t, s.from, "greet", map[string]int{"n": 7})
		if _, err := io.WriteString(st, "question"); err != nil {
			t.Fatal(err)
		}
		if err := st.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got := accept(t, s.to)
		var h struct{ N int }
		if err := got.Header(&h); err != nil || h.N != 7 || got.Kind() != "greet" {
			t.Fatalf("kind %q, header %+v, %v", got.Kind(), h, err)
		}
		if b, err := io.ReadAll(got); err != nil || string(b) != "question" {
			t.Fatalf("%q, %v", b, err)
		}
		if _, err := io.WriteString(got, "answer"); err != nil {
			t.Fatal(err)
		}
		_ = got.Close()
		if b, err := io.ReadAll(st); err != nil || string(b) != "answer" {
			t.Fatalf("%q, %v", b, err)
		}
		_ = st.Close()
		if _, err := st.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("write after close: %v", err)
		}
	}
	warden.mu.Lock()
	defer warden.mu.Unlock()
	if len(warden.streams) != 0 || warden.accepted != 0 || len(warden.slots) != 0 || warden.growth != growthBudget {
		t.Errorf("ended streams left something: %d streams, %d accepted, %d slots", len(warden.streams), warden.accepted, len(warden.slots))
	}
}

func TestHundredStreamsAtOnce(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	cork.Handle("echo", echo)
	warden.Handle("echo", echo)
	var wg sync.WaitGroup
	for i := range 100 {
		s := []*Session{warden, cork}[i%2]
		wg.Go(func() {
			st, err := s.Open(t.Context(), "echo", nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer st.Close()
			data := bytes.Repeat([]byte(fmt.Sprintf("stream %d;", i)), 40000)
			wg.Go(func() {
				if _, err := st.Write(data); err != nil {
					t.Error(err)
				}
				_ = st.CloseWrite()
			})
			got, err := io.ReadAll(st)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
				t.Errorf("stream %d: %d of %d bytes came back, %v", i, len(got), len(data), err)
			}
		})
	}
	wg.Wait()
}

// arrived waits until n bytes are there to be read from st.
func arrived(t *testing.T, st *Stream, n int) {
	t.Helper()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.readEnd.set(time.Now().Add(30*time.Second), &st.mu, st.readable.Broadcast)
	for st.in.n < n && !st.readEnd.passed.Load() {
		st.readable.Wait()
	}
	if st.readEnd.set(time.Time{}, &st.mu, nil); st.in.n < n {
		t.Fatalf("%d bytes arrived, not %d", st.in.n, n)
	}
}

func TestSlowReaderHoldsBackItsOwnStreamOnly(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	cork.Handle("echo", echo)
	slow := open(t, warden, "slow", nil)
	stuck := accept(t, cork)
	wrote := make(chan int, 1)
	go func() {
		n, err := slow.Write(make([]byte, 10*fullWindow))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a stream nobody reads: %v", err)
		}
		wrote <- n
	}()
	arrived(t, stuck, firstWindow)
	_ = slow.SetWriteDeadline(time.Now())
	if n := <-wrote; n != firstWindow {
		t.Fatalf("wrote %d to a stream nobody reads", n)
	}
	st := open(t, warden, "echo", nil)
	go func() {
		_, _ = st.Write(make([]byte, 4<<20))
		_ = st.CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, st); n != 4<<20 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	// The stuck one goes on when it is read, from the byte it stopped at.
	_ = slow.SetWriteDeadline(time.Time{})
	go func() {
		_, _ = slow.Write([]byte("end"))
		_ = slow.CloseWrite()
	}()
	if b, err := io.ReadAll(stuck); err != nil || len(b) != firstWindow+3 {
		t.Fatalf("%d, %v", len(b), err)
	}
}

func TestDeadlineEndsAWaitingRead(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	st := open(t, warden, "quiet", nil)
	other := accept(t, cork)
	_ = st.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	_ = st.SetReadDeadline(time.Time{})
	_, _ = other.Write([]byte("x"))
	if n, err := st.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("after the deadline was lifted: %d, %v", n, err)
	}
}

func TestResetTellsTheReasonInertly(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	st := open(t, warden, "ask", nil)
	accept(t, cork).Reset("no\x1b[31m")
	_, err := st.Read(make([]byte, 1))
	var re *ResetError
	if !errors.As(err, &re) || re.Reason != "no\x1b[31m" || err.Error() != `ask refused by the other side: no\x1b[31m` {
		t.Fatalf("%v", err)
	}
	if _, err := st.Write([]byte("x")); !errors.As(err, &re) {
		t.Fatalf("write after reset: %v", err)
	}
}

func TestPeerDeathMidStream(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	st := open(t, warden, "job", nil)
	other := accept(t, cork)
	if _, err := other.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(st, b[:1]); err != nil { // the rest is here too, then
		t.Fatal(err)
	}
	_ = cork.Close()
	<-warden.Done()
	if !errors.Is(warden.Err(), ErrGone) {
		t.Fatalf("the session ended with %v", warden.Err())
	}
	if b, err := io.ReadAll(st); string(b) != "alf" || !errors.Is(err, ErrGone) {
		t.Fatalf("%q, %v", b, err)
	}
	if _, err := warden.Open(t.Context(), "more", nil); !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
	if _, err := warden.Accept(t.Context()); !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
}

func TestCloseUnblocksEverybody(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	st := open(t, warden, "job", nil)
	accept(t, cork)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = st.Read(make([]byte, 1)) })
	wg.Go(func() { _, _ = st.Write(make([]byte, 1<<20)) })
	wg.Go(func() { _, _ = warden.Accept(context.Background()) })
	_ = warden.Close()
	wg.Wait()
	if !errors.Is(warden.Err(), ErrClosed) {
		t.Fatal(warden.Err())
	}
}

func TestHandleTakesStreamsThatCameBefore(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	early := open(t, warden, "early", nil)
	other := open(t, warden, "other", nil)
	if st := accept(t, cork); st.Kind() != "early" {
		t.Fatal(st.Kind())
	}
	_ = early
	cork.Handle("other", echo)
	_, _ = other.Write([]byte("hi"))
	_ = other.CloseWrite()
	if b, err := io.ReadAll(other); string(b) != "hi" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestUnansweredKindsAreRefusedInTheEnd(t *testing.T) {
	t.Parallel()
	warden, _ := pair(t)
	var last *Stream
	for range backlogLimit + 1 {
		last = open(t, warden, "nobody", nil)
	}
	var re *ResetError
	if _, err := last.Read(make([]byte, 1)); !errors.As(err, &re) {
		t.Fatal(err)
	}
}

func TestOpenWaitsForASlot(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	cork.Handle("hold", func(st *Stream) { _, _ = io.Copy(io.Discard, st); _ = st.Close() })
	held := make([]*Stream, openLimit)
	for i := range held {
		held[i] = open(t, warden, "hold", nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := warden.Open(ctx, "hold", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	_ = held[0].Close()
	open(t, warden, "hold", nil)
}

func TestOversizeHeaderIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	if _, err := cork.Open(t.Context(), "x", make([]byte, 8<<10)); err == nil {
		t.Error("a header of cork's larger than an address was sent")
	}
	if _, err := warden.Open(t.Context(), "x", make([]byte, 100<<10)); err != nil {
		t.Errorf("a command's size of header: %v", err)
	}
	if _, err := warden.Open(t.Context(), "x", make([]byte, 256<<10)); err == nil {
		t.Error("a header beyond the bound was sent")
	}
}
