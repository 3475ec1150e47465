package inspect

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan/unpack"
)

const (
	// maxHeld is how long a body may be to be looked at as a whole before any of it goes on, in bytes.
	maxHeld = 1 << 20
	// maxHolding bounds what all bodies held at once may come to, in bytes. A bottle that sends more at
	// once has the rest looked at as it passes.
	maxHolding = 16 << 20
)

// StoppedError is what a body's reader fails with when the rest must not be sent.
type StoppedError struct{ Report Report }

func (e *StoppedError) Error() string {
	if e.Report.Blocked != nil {
		return e.Report.Blocked.String()
	}
	return e.Report.Opaque
}

// Body is a request's body, inspected: what is read from it may be forwarded.
type Body struct {
	io.ReadCloser
	report func() Report
	done   func()
	once   sync.Once
}

// Report tells what was found in as much of the body as has been read.
func (b *Body) Report() Report { return b.report() }

// Close ends the reading.
func (b *Body) Close() error {
	b.once.Do(b.done)
	return b.ReadCloser.Close()
}

// Body inspects r's body and returns what is to be forwarded in its place; nil for a request without
// one. Key names what the body is sent to, for what the bottle sends in pieces. When the Report says
// Stopped nothing of the body must be forwarded; a body that is looked at as it passes may still fail
// with a *StoppedError.
func (in *Inspector) Body(r *http.Request, key string, s policy.Scan) (*Body, Report) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, Report{}
	}
	j := in.judge(s)
	codings, err := unpack.Coding(withoutFraming(r.Header["Content-Encoding"]))
	if err != nil {
		j.opaque("the body", err)
		return nil, j.report()
	}
	if n := r.ContentLength; n >= 0 && n <= maxHeld && r.Header.Get("Expect") == "" {
		free := func() { in.holding.Add(-n) }
		if in.holding.Add(n) <= maxHolding {
			b, rep := in.held(j, r, key, codings)
			if b == nil {
				free()
				return nil, rep
			}
			b.done = free
			return b, rep
		}
		free()
	}
	b, err := in.passing(j, r, codings)
	if err != nil {
		j.opaque("the body", err)
		return nil, j.report()
	}
	return &Body{ReadCloser: b, report: b.snapshot, done: func() {}}, Report{}
}

// withoutFraming leaves aws-chunked out of what a body is coded with: it encodes nothing, it puts a line
// between pieces of the body
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html).
func withoutFraming(lines []string) []string {
	if len(lines) != 1 || !strings.Contains(strings.ToLower(lines[0]), "aws-chunked") {
		return lines
	}
	var out []string
	for coding := range strings.SplitSeq(lines[0], ",") {
		if coding = strings.TrimSpace(coding); !strings.EqualFold(coding, "aws-chunked") {
			out = append(out, coding)
		}
	}
	return out
}

// errCut is a body that ended before its declared length.
var errCut = errors.New("the body ended early")
