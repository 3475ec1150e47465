package session

import (
	"bytes"
	"io"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/session/escape"
)

// pipe keeps the end of a process's two output streams, in the order they came. Everything in it
// is guarded by the session's lock.
type pipe struct {
	room  *sync.Cond // there may be room, or the session ended
	limit int

	pieces  []piece
	size    int   // bytes in pieces
	start   int64 // the offset of pieces[0]; offsets count bytes of both streams
	waiting int   // pumps that wait for room
	held    bool  // one had to wait lately
	seen    bool  // somebody was attached once
	// unattended lets full buffers lose their oldest part although nobody has read it.
	unattended bool
}

type piece struct {
	stream Stream
	data   []byte
}

func newPipe(mu *sync.Mutex, limit int, unattended bool) *pipe {
	return &pipe{room: sync.NewCond(mu), limit: limit, unattended: unattended}
}

// attach returns the offset a new client reads from.
func (p *pipe) attach() int64 {
	p.seen = true
	return p.start
}

// take returns the next output at *offset and moves it on; nil when there is none.
func (p *pipe) take(offset *int64) (Stream, []byte) {
	at := p.start
	for _, piece := range p.pieces {
		if end := at + int64(len(piece.data)); *offset < end {
			data := piece.data[max(0, *offset-at):]
			*offset = end
			p.room.Broadcast()
			return piece.stream, data
		}
		at += int64(len(piece.data))
	}
	return 0, nil
}

// fits makes room for n more bytes by forgetting what every one of clients has read, and reports
// whether there is.
func (p *pipe) fits(n int, clients []*Client) bool {
	for p.size > 0 && p.size+n > p.limit {
		first := int64(len(p.pieces[0].data))
		if !p.seen && !p.unattended {
			return false
		}
		for _, c := range clients {
			if c.offset < p.start+first {
				return false
			}
		}
		p.start += first
		p.size -= int(first)
		p.pieces[0] = piece{}
		p.pieces = p.pieces[1:]
	}
	return true
}

// wait waits for something to change.
func (p *pipe) wait() {
	p.held = true
	p.waiting++
	p.room.Wait()
	p.waiting--
}

// add appends a copy of data.
func (p *pipe) add(s Stream, data []byte) {
	p.size += len(data)
	if n := len(p.pieces) - 1; n >= 0 && p.pieces[n].stream == s && len(p.pieces[n].data)+len(data) <= p.most() {
		// Clients may be reading what is there already; what comes behind it they can't see.
		p.pieces[n].data = append(p.pieces[n].data, data...)
		return
	}
	p.pieces = append(p.pieces, piece{s, bytes.Clone(data)})
}

// most is the size of a piece, small enough that forgetting one makes little difference.
func (p *pipe) most() int { return min(readSize, max(1, p.limit/4)) }

// pumpPipe takes in one output stream.
func (s *Session) pumpPipe(stream Stream, out io.Reader) {
	var filter escape.Filter
	var plain []byte
	buf := make([]byte, s.pipe.most())
	for {
		n, err := out.Read(buf)
		if n > 0 {
			s.mu.Lock()
			if s.cfg.Cast != nil {
				plain = filter.Append(plain[:0], buf[:n])
				s.cfg.Cast.Output(returns(escape.Quiet(plain, filter.Queries())), nil)
			}
			for !s.pipe.fits(n, s.clients) && !s.closed() {
				s.pipe.wait()
			}
			s.pipe.add(stream, buf[:n])
			for _, c := range s.clients {
				c.signal()
			}
			s.mu.Unlock()
		}
		if err != nil {
			return // how the process ended is Wait's to tell
		}
	}
}

// closed reports whether the session has ended. s.mu is held.
func (s *Session) closed() bool { return s.exit != nil || s.fault != nil }

// returns gives every line end its carriage return, which a player needs and a pipe hasn't.
func returns(p []byte) []byte {
	p = bytes.ReplaceAll(p, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))
}
