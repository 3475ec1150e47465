package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the project promises of streams.
const (
	downloadBytes = 1 << 30
	uploadBytes   = 100 << 20
	streamShare   = 0.6
	growthMax     = 16 << 20
	eventMax      = time.Millisecond
	eventCount    = 100
)

// stream measures what passes without end: a download, an upload, events.
func stream(ctx context.Context, o options) error {
	l, err := newLab(ctx, o.dir)
	if err != nil {
		return err
	}
	defer l.close()
	engine, _, err := l.through(ctx, 0, o.profile)
	if err != nil {
		return err
	}
	field := []road{l.direct(), engine}
	if err := throughput(ctx, field, o.rounds, fmt.Sprintf("download of %d MB over HTTPS", downloadBytes>>20), downloadBytes, streamShare, download); err != nil {
		return err
	}
	if err := throughput(ctx, field, o.rounds, fmt.Sprintf("upload of %d MB of text over HTTPS", uploadBytes>>20), uploadBytes, 0, upload); err != nil {
		return err
	}
	if err := growth(ctx, l); err != nil {
		return err
	}
	return events(ctx, field)
}

// throughput prints the median speed of each road, and what the second's is of the first's, which
// should be least; 0 promises nothing: an upload is scanned to its end.
func throughput(ctx context.Context, field []road, rounds int, title string, bytes int64, least float64, pass func(context.Context, road, int64) error) error {
	took := make([][]time.Duration, len(field))
	for range rounds {
		for i, r := range field {
			began := time.Now()
			if err := pass(ctx, r, bytes); err != nil {
				return fmt.Errorf("%s, %s: %w", title, r("").name, err)
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	fmt.Printf("\n%s, %s\n", title, inTurns(rounds))
	for i, r := range field {
		fmt.Printf("  %-14s %7.0f MB/s\n", r("").name, float64(bytes)/median(took[i]).Seconds()/1e6)
	}
	shares := make([]float64, rounds)
	for i := range shares {
		shares[i] = float64(took[0][i]) / float64(took[1][i])
	}
	share := mid(shares)
	if least == 0 {
		fmt.Printf("  share of direct: %.2f\n", share)
		return nil
	}
	verdict("share of direct", fmt.Sprintf("%.2f", share), share >= least, fmt.Sprintf("at least %.1f", least))
	return nil
}

// streamWithin bounds one pass, handshake included.
const streamWithin = 2 * time.Minute

// bounded opens a connection for one pass.
func bounded(ctx context.Context, e endpoint) (*client, error) {
	c, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(streamWithin)) // a dead socket fails the pass
	return c, nil
}

// download asks for bytes of what can't be compressed.
func download(ctx context.Context, r road, bytes int64) error {
	e := r(registryHost)
	c, err := bounded(ctx, e)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // everything has been read
	if _, err := c.Write(e.request(work{method: "GET", target: targetBytes + strconv.FormatInt(bytes, 10), fields: "Accept: */*\r\n"})); err != nil {
		return err
	}
	h, err := readHead(c.r)
	if err != nil {
		return err
	}
	if !ok(h) {
		return fmt.Errorf("answered %q: %w", h.line, errUnexpected)
	}
	n, err := skipBody(c.r, h)
	if err == nil && n != bytes {
		err = fmt.Errorf("%d bytes came: %w", n, errUnexpected)
	}
	return err
}

// upload sends bytes of text and waits for the upstream's answer to them.
func upload(ctx context.Context, r road, bytes int64) error {
	e := r(uploadHost)
	c, err := bounded(ctx, e)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the answer has come
	if _, err := fmt.Fprintf(c, "PUT %s/v1/archive HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n", e.origin, e.host, bytes); err != nil {
		return err
	}
	for left := bytes; left > 0; {
		n, err := io.WriteString(c, text[:min(left, int64(len(text)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	h, err := readHead(c.r)
	if err == nil && !ok(h) {
		err = fmt.Errorf("answered %q: %w", h.line, errUnexpected)
	}
	return err
}

// text is what people upload: code, prose and numbers, without anything that looks like a secret.
var text = func() string {
	var b strings.Builder
	for i := 0; b.Len() < 256<<10; i++ {
		fmt.Fprintf(&b, "func (s *store) load%d(ctx context.Context, key string) ([]byte, error) {\n", i)
		fmt.Fprintf(&b, "\t// The index is read once; token buckets of %d ms keep the rest away.\n", i*7%1000)
		fmt.Fprintf(&b, "\tif v, ok := s.cache[key]; ok && v.age < %d {\n\t\treturn v.bytes, nil\n\t}\n\treturn s.fetch(ctx, \"/objects/%d/\"+key)\n}\n\n", i%64, i)
	}
	return b.String()
}()

// growth measures how much a fresh engine grows by an upload.
func growth(ctx context.Context, l *lab) error {
	r, p, err := l.through(ctx, 0, "")
	if err != nil {
		return err
	}
	if err := upload(ctx, r, 1<<10); err != nil { // what any first request brings in
		return err
	}
	if err := p.resetPeak(); err != nil {
		return err
	}
	before, _, err := p.resident()
	if err != nil {
		return err
	}
	if err := upload(ctx, r, uploadBytes); err != nil {
		return err
	}
	_, peak, err := p.resident()
	if err != nil {
		return err
	}
	fmt.Printf("\nmemory of a fresh engine during an upload of %d MB\n", uploadBytes>>20)
	verdict("grown by", fmt.Sprintf("%.1f MB, to %.1f MB", mb(peak-before), mb(peak)), peak-before < growthMax, fmt.Sprintf("under %d MB", growthMax>>20))
	return nil
}

// events measures when the first event of a stream is there, counted from the request.
func events(ctx context.Context, field []road) error {
	w, err := prompt(targetEvents + eventHold.String())
	if err != nil {
		return err
	}
	took := make([][]time.Duration, len(field))
	for i, r := range field {
		e := r(w.host)
		if took[i], err = firstEvents(ctx, e, e.request(w)); err != nil {
			return fmt.Errorf("events, %s: %w", e.name, err)
		}
	}
	fmt.Printf("\nfirst event of a stream that stays open, %d times\n", eventCount)
	for i, r := range field {
		d := slices.Sorted(slices.Values(took[i]))
		fmt.Printf("  %-14s median %s, p90 %s\n", r("").name, fine(median(d)), fine(d[len(d)*9/10]))
	}
	late := median(took[1]) - median(took[0])
	verdict("later than direct by", fine(late), late < eventMax, "under "+fine(eventMax))
	return nil
}

// firstEvents asks for a stream again and again over one connection.
func firstEvents(ctx context.Context, e endpoint, request []byte) ([]time.Duration, error) {
	c, err := bounded(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()                  // everything has been read
	if _, err := firstEvent(c, request); err != nil { // it dials upstream
		return nil, err
	}
	took := make([]time.Duration, eventCount)
	for i := range took {
		if took[i], err = firstEvent(c, request); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// firstEvent asks for a stream, returns how long its first event took, and reads it to its end.
func firstEvent(c *client, request []byte) (time.Duration, error) {
	took, h, err := awaitEvent(c, request)
	if err == nil {
		_, err = skipBody(c.r, h)
	}
	return took, err
}

// awaitEvent asks for a stream and returns how long its first event took.
func awaitEvent(c *client, request []byte) (time.Duration, head, error) {
	began := time.Now()
	if _, err := c.Write(request); err != nil {
		return 0, head{}, err
	}
	h, err := readHead(c.r)
	if err != nil {
		return 0, head{}, err
	}
	if !ok(h) || !h.chunked {
		return 0, head{}, fmt.Errorf("answered %q: %w", h.line, errUnexpected)
	}
	first, err := c.r.Peek(len(event)) // the chunk's size and most of the event
	if err != nil || !strings.Contains(string(first), event[:len(event)/2]) {
		return 0, head{}, fmt.Errorf("the stream begins %q: %w", first, errUnexpected)
	}
	return time.Since(began), h, nil
}
