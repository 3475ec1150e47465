package egress

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// pieces yields its bytes in pieces of given lengths, as a socket has them.
type pieces struct {
	rest []byte
	next func() int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(p.next(), len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

func TestReadingAheadChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := make([]byte, rapid.IntRange(0, 1<<20).Draw(t, "size"))
		for i := range want {
			want[i] = byte(i * i >> 8)
		}
		length := rapid.SampledFrom([]int{1, 1000, leastAhead, leastAhead + 1, 20 << 10, wideBuffer, wideBuffer + 1})
		var wide wideBuffers
		src := &pieces{want, func() int { return length.Draw(t, "piece") }}
		a := ahead{wide: &wide}
		waits, asked := 0, 0
		counted := readerFunc(func(p []byte) (int, error) {
			if asked++; waits != asked {
				t.Fatal("the socket was asked without a word")
			}
			return src.Read(p)
		})
		var got []byte
		buf := make([]byte, wideBuffer+1)
		for {
			n, err := a.read(counted, buf[:length.Draw(t, "read")], func() { waits++ })
			got = append(got, buf[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			if rest := a.pending(); rest != (wide.lent.Load() == 1) {
				t.Fatalf("pending %v with %d buffers lent", rest, wide.lent.Load())
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came, not the %d that were there", len(got), len(want))
		}
		if n := wide.lent.Load(); n != 0 {
			t.Fatalf("%d buffers are still lent", n)
		}
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAConnectionThatEndsGivesItsBufferBack(t *testing.T) {
	t.Parallel()
	var wide wideBuffers
	endless := readerFunc(func(p []byte) (int, error) { return len(p), nil })
	buf := make([]byte, leastAhead)
	all := make([]ahead, maxWide+2)
	for i := range all {
		all[i].wide = &wide
		for range 2 {
			if n, err := all[i].read(endless, buf, nil); n != len(buf) || err != nil {
				t.Fatalf("connection %d: %d %v", i, n, err)
			}
		}
		if got, want := all[i].pending(), i < maxWide; got != want {
			t.Errorf("connection %d reads ahead: %v", i, got)
		}
	}
	for i := range all {
		all[i].drop()
	}
	if n := wide.lent.Load(); n != 0 {
		t.Errorf("%d buffers are still lent", n)
	}
	// A read that was under way when the connection ended.
	late := ahead{wide: &wide}
	for range 2 {
		_, _ = late.read(readerFunc(func(p []byte) (int, error) {
			if late.filled {
				late.drop()
			}
			return len(p), nil
		}), buf, nil)
	}
	if n := wide.lent.Load(); n != 0 || late.pending() {
		t.Errorf("%d buffers are lent to a connection that ended", n)
	}
}

// writes keeps what it was given, write by write.
type writes struct {
	all []int
	sum bytes.Buffer
	err error
}

func (w *writes) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.all = append(w.all, len(p))
	return w.sum.Write(p)
}

func TestGatheringKeepsTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var (
			wide wideBuffers
			w    writes
			want bytes.Buffer
		)
		g := gather{wide: &wide}
		for i := range rapid.IntRange(0, 40).Draw(t, "writes") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				if err := g.send(&w); err != nil || w.sum.Len() != want.Len() {
					t.Fatal(w.sum.Len(), want.Len(), err)
				}
			default:
				hold := rapid.Bool().Draw(t, "hold")
				g.more(hold)
				p := bytes.Repeat([]byte{byte(i)}, rapid.SampledFrom([]int{1, 16 << 10, 40 << 10, wideBuffer, wideBuffer + 1}).Draw(t, "size"))
				want.Write(p)
				if n, err := g.write(&w, p); n != len(p) || err != nil {
					t.Fatal(n, err)
				}
				if !hold && w.sum.Len() != want.Len() {
					t.Fatal("something waits for nothing")
				}
			}
		}
		if err := g.send(&w); err != nil || !bytes.Equal(w.sum.Bytes(), want.Bytes()) || wide.lent.Load() != 0 {
			t.Fatal(w.sum.Len(), want.Len(), wide.lent.Load(), err)
		}
	})
}

func TestGatheringMakesOneWriteOfMany(t *testing.T) {
	t.Parallel()
	var (
		wide wideBuffers
		w    writes
	)
	g := gather{wide: &wide}
	for i := range 7 {
		g.more(i < 6)
		_, _ = g.write(&w, make([]byte, 16<<10))
	}
	if len(w.all) != 1 || w.all[0] != 7*16<<10 {
		t.Errorf("writes of %v bytes", w.all)
	}
	gone := errors.New("gone")
	w.err = gone
	g.more(true)
	if n, err := g.write(&w, []byte("late")); n != 4 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	for range 2 {
		if err := g.send(&w); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	}
	if _, err := g.write(&w, []byte("later")); !errors.Is(err, gone) || wide.lent.Load() != 0 {
		t.Errorf("%v, %d buffers lent", err, wide.lent.Load())
	}
}
