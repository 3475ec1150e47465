package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

const (
	version = 1
	// lineMax bounds a line: every text of an Event is bounded far below it.
	lineMax = 64 << 10
	noPrev  = "0000000000000000000000000000000000000000000000000000000000000000"
)

// Texts that Verify knows: a segment's last line and the first of the next.
const (
	textFull     = "log full: the next segment goes on"
	textContinue = "goes on from the segment before"
	textCapped   = "log full: requests are only counted from here on"
)

// chain is the file side of a Log: one writer, one chain of hashes over all segments.
type chain struct {
	path   string
	lim    limits
	f      *os.File
	size   int64
	link        // of the last line encoded
	wrote  link // of the last line in the file
	capped bool // all segments are full
}

// link is where a chain stands after a line.
type link struct {
	seq  uint64
	prev string
}

// open opens the current segment and finds where its chain stands. It returns how many bytes of an
// unfinished last line it cut off.
func (c *chain) open() (cut int64, err error) {
	f, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // the error that brought us here tells more
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() {
		return 0, errors.New("not a regular file")
	}
	c.f, c.size = f, st.Size()
	c.link = link{0, noPrev}
	c.wrote = c.link
	if c.size == 0 {
		return 0, c.follow()
	}
	// The last line and at most one unfinished one after it are in the tail.
	tail := make([]byte, min(c.size, 2*lineMax))
	if _, err := f.ReadAt(tail, c.size-int64(len(tail))); err != nil {
		return 0, err
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	cut = int64(len(tail) - end)
	if end == 0 && int64(len(tail)) < c.size {
		return 0, errors.New("its last line is longer than any event: move the file away")
	}
	if cut > 0 {
		if err := f.Truncate(c.size - cut); err != nil {
			return 0, err
		}
		c.size -= cut
	}
	if end == 0 {
		return cut, c.follow()
	}
	last := tail[:end-1]
	last = last[bytes.LastIndexByte(last, '\n')+1:]
	var e Event
	if err := json.Unmarshal(last, &e); err != nil || e.V != version || e.Seq == 0 {
		return 0, errors.New("its last line is no audit event: move the file away")
	}
	c.link = link{e.Seq, hash(last)}
	c.wrote = c.link
	c.capped = e.Text == textCapped
	return cut, nil
}

// follow finds the segment set aside last, whose chain an empty current file goes on with: a crash
// may have come between setting it aside and the first line of the next.
func (c *chain) follow() error {
	n, err := c.aside()
	if err != nil || n == 0 {
		return err
	}
	old := chain{path: c.segment(n), lim: c.lim}
	ok, err := exists(old.path)
	if err != nil || !ok {
		return err
	}
	if _, err := old.open(); err != nil {
		return fmt.Errorf("%s: %w", old.path, err)
	}
	c.link, c.wrote = old.link, old.link
	if err := old.f.Close(); err != nil {
		return err
	}
	return c.line(Event{Kind: KindLifecycle, Text: textContinue})
}

// aside returns how many segments have been set aside.
func (c *chain) aside() (int, error) {
	for n := 1; n <= c.lim.segments; n++ {
		ok, err := exists(c.segment(n))
		if err != nil {
			return 0, err
		}
		if !ok {
			return n - 1, nil
		}
	}
	return c.lim.segments, nil
}

func (c *chain) segment(n int) string { return fmt.Sprintf("%s.%d", c.path, n) }

// append writes events as lines, in one write where they fit.
func (c *chain) append(events []Event) error {
	var b bytes.Buffer
	for i := range events {
		e := &events[i]
		if c.capped && e.Kind != KindLifecycle && e.Kind != KindSession && e.Kind != KindSelfTest {
			continue
		}
		if c.size+int64(b.Len()) >= c.lim.segment && !c.capped {
			if err := c.flush(&b); err != nil {
				return err
			}
			if err := c.rotate(e.Bottle); err != nil {
				return err
			}
			if c.capped {
				continue
			}
		}
		if err := c.encode(&b, *e); err != nil {
			return err
		}
	}
	return c.flush(&b)
}

// rotate ends the current segment and starts the next, or, with all of them full, says so and
// leaves only what the warden does to be written.
func (c *chain) rotate(bottle string) error {
	n, err := c.aside()
	if err != nil {
		return err
	}
	if n+1 >= c.lim.segments {
		c.capped = true
		return c.line(Event{Bottle: bottle, Kind: KindLifecycle, Text: textCapped})
	}
	if err := c.line(Event{Bottle: bottle, Kind: KindLifecycle, Text: textFull}); err != nil {
		return err
	}
	if err := c.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(c.path, c.segment(n+1)); err != nil {
		return err
	}
	f, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := c.f.Close(); err != nil {
		_ = f.Close() // the file stays as it is: the next Open goes on from it
		return err
	}
	c.f, c.size = f, 0
	return c.line(Event{Bottle: bottle, Kind: KindLifecycle, Text: textContinue})
}

func (c *chain) line(e Event) error {
	var b bytes.Buffer
	if err := c.encode(&b, e); err != nil {
		return err
	}
	return c.flush(&b)
}

// encode adds e as a line to b and moves the chain on.
func (c *chain) encode(b *bytes.Buffer, e Event) error {
	clean(&e)
	e.V, e.Seq, e.Prev = version, c.seq+1, c.prev
	start := b.Len()
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		b.Truncate(start)
		return err
	}
	c.seq++
	c.prev = hash(b.Bytes()[start : b.Len()-1])
	return nil
}

// flush writes b. When the disk takes only a part, the part is taken back and the chain goes on from
// what is there, so that the file never holds half a line of ours while we live.
func (c *chain) flush(b *bytes.Buffer) error {
	if b.Len() == 0 {
		return nil
	}
	n, err := c.f.Write(b.Bytes())
	b.Reset()
	if err != nil {
		c.seq, c.prev = c.wrote.seq, c.wrote.prev
		return errors.Join(err, c.f.Truncate(c.size))
	}
	c.size += int64(n)
	c.wrote = link{c.seq, c.prev}
	return nil
}

// close closes the file; a durable one survives a power cut.
func (c *chain) close(durable bool) error {
	var err error
	if durable {
		err = c.f.Sync()
	}
	return errors.Join(err, c.f.Close())
}

func hash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// clean makes every text of e inert and bounded.
func clean(e *Event) {
	for _, t := range []struct {
		s   *string
		max int
	}{
		{&e.Bottle, 64}, {&e.Rule, 256}, {&e.Why, 1024}, {&e.Host, 256}, {&e.Addr, 64},
		{&e.Method, 32}, {&e.Path, 1024}, {&e.Text, 2048}, {&e.Verdict, 16}, {&e.Model, 80},
	} {
		*t.s = inert.Text(*t.s, t.max)
	}
	e.Findings = slices.Clone(e.Findings[:min(len(e.Findings), maxFindings)]) // the caller's stay as they are
	for i := range e.Findings {
		e.Findings[i].clean()
	}
	e.Kind, e.Via = Kind(inert.Text(string(e.Kind), 32)), Via(inert.Text(string(e.Via), 32))
}

// Verify reads one segment of a log and returns an error naming the first line that is not what
// was written: edited, removed, reordered or unfinished. The first line must be a log's first, or
// one that says it goes on from the segment before. What Verify can't see is lines missing at the
// end.
func Verify(r io.Reader) error {
	in := newLines(r)
	var seq uint64
	prev := noPrev
	for n := 1; ; n++ {
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("audit line %d: %w", n, err)
		}
		var e Event
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("audit line %d is no event: %w", n, err)
		}
		if e.V != version {
			return fmt.Errorf("audit line %d has version %d; this program knows %d", n, e.V, version)
		}
		if n == 1 && e.Seq > 1 && strings.HasPrefix(e.Text, textContinue) {
			seq, prev = e.Seq-1, e.Prev
		}
		switch {
		case e.Seq != seq+1:
			return fmt.Errorf("audit line %d has number %d where %d belongs: a line was removed, added or moved", n, e.Seq, seq+1)
		case e.Prev != prev:
			return fmt.Errorf("audit line %d does not follow from the line before: line %d was changed", n, max(n-1, 1))
		}
		seq, prev = e.Seq, hash(line)
	}
}
