package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/archive"
	"github.com/claude-bottle/claude-bottle/internal/progress"
)

// supply is where one Serve puts bytes for a while, and tells how far it is.
type supply struct {
	ref  string
	dir  string
	sink progress.Sink
	need int64 // bytes that dir must take, about
}

// scratch opens a file in the folder that has no name: it goes when it is closed, or this process
// dies, and nobody else can open it.
func (s *supply) scratch() (*os.File, error) {
	f, err := os.CreateTemp(s.dir, "layer-")
	if err != nil {
		return nil, s.disk(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// spool brings a stream of about so many bytes onto the disk. An error of the stream comes back as
// it is.
func (s *supply) spool(r io.Reader, about int64) (*os.File, error) {
	f, err := s.scratch()
	if err != nil {
		return nil, err
	}
	s.need += about
	if _, err := s.append(f, r); err != nil {
		_ = f.Close() // it goes with it
		return nil, err
	}
	return f, nil
}

// append writes a stream to the end of f and returns how long it was.
func (s *supply) append(f *os.File, r io.Reader) (int64, error) {
	n, err := io.Copy(f, io.LimitReader(r, archive.MaxBytes+1))
	if err == nil && n > archive.MaxBytes {
		return n, fmt.Errorf("image %s has more than %d GiB", s.ref, archive.MaxBytes>>30)
	}
	return n, s.disk(err)
}

// disk puts an error of our own disk into words, and leaves others as they are.
func (s *supply) disk(err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	need := "more"
	if s.need > 0 {
		need = "about " + megabytes(s.need)
	}
	return &Error{
		Why: fmt.Sprintf("no room to unpack the image %s in %s: it takes %s, until the machine has read it", s.ref, s.dir, need),
		Fix: "make room on that disk, with claude-bottle cleanup for one, then give the same command again",
		Err: err,
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", (n+999_999)/1_000_000) }

// meter passes a stream on and says how far it is, once a second from the first second on. It ends
// with ctx.
type meter struct {
	ctx         context.Context // of the one call it lives for
	r           io.Reader
	s           *supply
	doing       string
	done, total int64
	next        time.Time
}

func (s *supply) meter(ctx context.Context, r io.Reader, doing string, total int64) *meter {
	return &meter{ctx: ctx, r: r, s: s, doing: doing, total: total, next: time.Now().Add(time.Second)}
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, context.Cause(m.ctx)
	}
	n, err := m.r.Read(p)
	m.done += int64(n)
	if now := time.Now(); now.After(m.next) {
		m.next = now.Add(time.Second)
		if m.done <= m.total {
			m.s.sink.Line(Step, fmt.Sprintf("%s %s: %d of %s", m.doing, m.s.ref, m.done/1_000_000, megabytes(m.total)))
		} else {
			m.s.sink.Line(Step, fmt.Sprintf("%s %s: %s", m.doing, m.s.ref, megabytes(m.done)))
		}
	}
	return n, err
}

// errorOf finds an error that is fit for the operator already.
func errorOf(err error) (*Error, bool) { return errors.AsType[*Error](err) }
