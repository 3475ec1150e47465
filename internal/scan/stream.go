package scan

import "slices"

// Stream looks at a text that arrives in writes. It keeps at most 96 KB of it. It's not safe for
// concurrent use.
type Stream struct {
	s      *Scanner
	report func(Finding)
	buf    []byte
	origin int64     // of buf, in the stream
	looked int       // bytes of buf that were looked at
	recent []Finding // in buf
	closed bool
}

// streamWindow is how much of a stream is gathered before it's looked at.
const streamWindow = 96 << 10

// Stream returns a stream whose findings go to report, from within Write, Flush and Close. A finding
// that grew when more was read is reported again, with the same Start or an earlier one.
func (s *Scanner) Stream(report func(Finding)) *Stream {
	return &Stream{s: s, report: report}
}

// Write looks at the next part of the text, later: findings come when enough has gathered. It never
// fails.
func (st *Stream) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), streamWindow-len(st.buf))
		st.buf = append(st.buf, p[:take]...)
		p = p[take:]
		if len(st.buf) == streamWindow {
			st.look()
			drop := len(st.buf) - overlap
			st.buf = append(st.buf[:0], st.buf[drop:]...)
			st.origin += int64(drop)
			st.looked = len(st.buf)
			st.recent = slices.DeleteFunc(st.recent, func(f Finding) bool { return f.End <= st.origin })
		}
	}
	return n, nil
}

// Flush looks at all that was written, now. A caller whose peer waits for the text calls it, and may
// then forward everything: what leaves is less than a whole secret, and the bottle's Memory has seen
// it.
func (st *Stream) Flush() {
	if st.looked < len(st.buf) {
		st.look()
	}
}

// Close looks at the rest. It never fails.
func (st *Stream) Close() error {
	st.Flush()
	st.closed = true
	return nil
}

// Settled is how far the stream has been looked at so that nothing before it can become part of a
// finding any more: a caller that redacts holds the rest back. After Close it's all of it.
func (st *Stream) Settled() int64 {
	if st.closed {
		return st.origin + int64(len(st.buf))
	}
	return st.origin + int64(max(0, st.looked-overlap))
}

// look looks at the buffer and reports what was not reported before.
func (st *Stream) look() {
	w := st.s.worker(nil)
	w.piece(st.buf, st.origin)
	for _, f := range w.found {
		if !st.known(f) {
			st.report(f)
			st.recent = append(st.recent, f)
		}
	}
	st.s.release(w)
	st.looked = len(st.buf)
}

// known reports whether f was reported.
func (st *Stream) known(f Finding) bool {
	for _, o := range st.recent {
		if o.Kind == f.Kind && o.Rule == f.Rule && f.Start >= o.Start && f.End <= o.End {
			return true
		}
	}
	return false
}
