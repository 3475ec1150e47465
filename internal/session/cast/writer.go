// Package cast writes and reads a session's recording in the asciicast v2 format: a JSON header
// line, then one JSON array a line, so that the usual players play it and a crash loses nothing but
// the line at hand. A recording is bounded: past half its limit the file is renamed to
// "<name>.1", replacing the one before, and a new one starts with a repaint, so that the end of a
// long session is always there.
package cast

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
	"unicode/utf8"
)

// DefaultLimit bounds a recording, both files together, in bytes.
const DefaultLimit = 64 << 20

// Options describe a recording.
type Options struct {
	Rows, Cols uint16
	// TTY tells a terminal's recording from that of two plain output streams.
	TTY bool
	// Limit bounds both files together, in bytes; zero means DefaultLimit.
	Limit int64
}

// header is the first line of a recording.
type header struct {
	Version   int               `json:"version"`
	Width     uint16            `json:"width"`
	Height    uint16            `json:"height"`
	Timestamp int64             `json:"timestamp"`
	Env       map[string]string `json:"env,omitempty"`
}

// modeKey names the header's environment entry that tells plain streams from a terminal.
const modeKey = "CLAUDE_BOTTLE_STREAM"

// older is what a full file's name gets appended.
const older = ".1"

// Writer records. It is not safe for concurrent use. A failing disk stops the recording, never the
// session: the first error is kept for Close.
type Writer struct {
	path  string
	opts  Options
	file  *os.File
	began time.Time
	size  int64
	err   error
	line  bytes.Buffer
}

// Create starts a recording at path, replacing what is there.
func Create(path string, o Options) (*Writer, error) {
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	w := &Writer{path: path, opts: o}
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("record session: %w", err)
	}
	return w, nil
}

func (w *Writer) open() error {
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w.file, w.size, w.began = f, 0, time.Now()
	h := header{Version: 2, Width: w.opts.Cols, Height: w.opts.Rows, Timestamp: w.began.Unix()}
	if !w.opts.TTY {
		h.Env = map[string]string{modeKey: "plain"}
	}
	w.write(h)
	return w.err
}

// Output records p, which an escape.Filter has made harmless and which ends with a whole
// character. When a new file has to be begun, snapshot, if not nil, returns what shows the screen as
// it is after p.
func (w *Writer) Output(p []byte, snapshot func() []byte) {
	if len(p) == 0 || w.err != nil {
		return
	}
	w.event("o", p)
	if w.size > w.opts.Limit/2 {
		w.rotate(snapshot)
	}
}

// Resize records the terminal's new size.
func (w *Writer) Resize(rows, cols uint16) {
	w.opts.Rows, w.opts.Cols = rows, cols
	if w.err == nil {
		w.event("r", fmt.Appendf(nil, "%dx%d", cols, rows))
	}
}

func (w *Writer) rotate(snapshot func() []byte) {
	if err := w.file.Close(); err != nil {
		w.err = err
		return
	}
	if err := os.Rename(w.path, w.path+older); err != nil {
		w.err = err
		return
	}
	if err := w.open(); err != nil {
		w.err = err
		return
	}
	if snapshot != nil {
		w.event("o", snapshot())
	}
}

func (w *Writer) event(kind string, data []byte) {
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\ufffd"))
	}
	at := json.Number(fmt.Sprintf("%.6f", time.Since(w.began).Seconds()))
	w.write([]any{at, kind, string(data)})
}

func (w *Writer) write(v any) {
	w.line.Reset()
	enc := json.NewEncoder(&w.line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		w.err = err
		return
	}
	n, err := w.file.Write(w.line.Bytes())
	w.size += int64(n)
	w.err = err
	if w.line.Cap() > 256<<10 {
		w.line = bytes.Buffer{}
	}
}

// Close ends the recording, and returns what went wrong with it first.
func (w *Writer) Close() error {
	if w.file == nil {
		return nil
	}
	err := errors.Join(w.err, w.file.Close())
	w.file, w.err = nil, os.ErrClosed
	if err != nil {
		return fmt.Errorf("record session: %w", err)
	}
	return nil
}
