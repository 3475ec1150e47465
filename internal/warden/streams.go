package warden

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/progress"
)

// Bounds of streams.
const (
	writeTime    = 30 * time.Second // a reader that takes nothing for so long is cut off
	auditPoll    = 100 * time.Millisecond
	maxAuditLine = 1 << 20
)

// lines is an answer of one JSON object a line.
type lines struct {
	w    io.Writer
	http *http.ResponseController
}

func stream(w http.ResponseWriter) lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	return lines{w, http.NewResponseController(w)}
}

// put sends one line, which has its end.
func (l lines) put(line []byte) error {
	if err := l.http.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err := l.w.Write(line)
	return err
}

func (s *Server) followProgress(w http.ResponseWriter, r *http.Request) {
	out := stream(w)
	// The client sees an end without an End event when this fails, and says so.
	_ = s.progress.Follow(r.Context(), func(e progress.Event) error {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if err := out.put(append(line, '\n')); err != nil {
			return err
		}
		return out.http.Flush()
	})
}

func (s *Server) followAudit(w http.ResponseWriter, r *http.Request) {
	from, err := number(r, "from", 64)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	f, err := os.Open(s.cfg.Audit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	out := stream(w)
	if f == nil {
		return // nothing was ever recorded
	}
	defer f.Close()
	// As above: a broken stream is the client's to notice.
	_ = copyAudit(r.Context(), out, f, from, r.URL.Query().Get("follow") == "1")
}

// copyAudit sends the lines of f with a sequence number above from.
func copyAudit(ctx context.Context, out lines, f io.Reader, from uint64, follow bool) error {
	in := bufio.NewReaderSize(f, 32<<10)
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			if seq := sequence(line); seq > from {
				if err := out.put(line); err != nil {
					return err
				}
			}
			line = line[:0]
		case errors.Is(err, bufio.ErrBufferFull) && len(line) < maxAuditLine:
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("audit record: %w", err)
		case !follow:
			return out.http.Flush()
		default:
			if err := out.http.Flush(); err != nil {
				return err
			}
			// Polling costs a read of nothing; a watch would cost a descriptor and a library.
			select {
			case <-time.After(auditPoll):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// sequence returns the number of an audit line; a line that has none is shown always.
func sequence(line []byte) uint64 {
	var e struct {
		Seq uint64 `json:"seq"`
	}
	if json.Unmarshal(line, &e) != nil || e.Seq == 0 {
		return ^uint64(0)
	}
	return e.Seq
}

// number returns the query's parameter called name, 0 when absent.
func number(r *http.Request, name string, bits int) (uint64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("parameter %s=%q is no number", name, text)
	}
	return n, nil
}
