package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// Datagrams cross as: uint32 number of the asker, uint16 length, the datagram. Cork keeps the
// askers' addresses to itself and knows them by number.
const (
	datagramHead = 6
	maxDatagram  = 4096 // bytes; longer ones are no DNS by UDP
)

func appendDatagram(b []byte, asker uint32, p []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, asker)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
}

// readDatagram reads one datagram into buf, which holds maxDatagram bytes.
func readDatagram(r io.Reader, buf []byte) (asker uint32, n int, err error) {
	var head [datagramHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, err
	}
	n = int(binary.BigEndian.Uint16(head[4:]))
	if n > maxDatagram || n > len(buf) {
		return 0, 0, fmt.Errorf("a datagram of %d bytes, at most %d are allowed", n, maxDatagram)
	}
	_, err = io.ReadFull(r, buf[:n])
	return binary.BigEndian.Uint32(head[:]), n, err
}

// asker is the address of who sent a datagram, as the warden sees it.
type asker uint32

func (asker) Network() string  { return "wire" }
func (a asker) String() string { return "bottle/dns/" + strconv.FormatUint(uint64(a), 10) }

// datagrams is a net.PacketConn over one KindDNS stream.
type datagrams struct {
	s       *Session
	in      chan datagram
	closed  chan struct{}
	once    sync.Once
	mu      sync.Mutex
	st      *Stream
	readEnd time.Time
	moved   chan struct{} // closed when readEnd changes
}

type datagram struct {
	from asker
	data []byte
}

func newDatagrams(s *Session) *datagrams {
	return &datagrams{s: s, in: make(chan datagram, 16), closed: make(chan struct{}), moved: make(chan struct{})}
}

// attach serves the one stream; cork opens it once.
func (d *datagrams) attach(st *Stream) {
	defer st.Close()
	d.mu.Lock()
	taken := d.st != nil
	if !taken {
		d.st = st
	}
	d.mu.Unlock()
	if taken {
		st.Reset("datagrams have a stream already")
		return
	}
	buf := make([]byte, maxDatagram)
	for {
		from, n, err := readDatagram(st, buf)
		if err != nil {
			return
		}
		select {
		case d.in <- datagram{asker(from), append([]byte(nil), buf[:n]...)}:
		case <-d.closed:
			return
		case <-d.s.Done():
			return
		}
	}
}

func (d *datagrams) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		d.mu.Lock()
		end, moved := d.readEnd, d.moved
		d.mu.Unlock()
		n, from, err := d.readUntil(p, end, moved)
		if !errors.Is(err, errMoved) {
			return n, from, err
		}
	}
}

// errMoved never leaves the package: the deadline was set anew during a read.
var errMoved = errors.New("deadline moved")

func (d *datagrams) readUntil(p []byte, end time.Time, moved <-chan struct{}) (int, net.Addr, error) {
	var expired <-chan time.Time
	if !end.IsZero() {
		t := time.NewTimer(time.Until(end))
		defer t.Stop()
		expired = t.C
	}
	select {
	case m := <-d.in:
		return copy(p, m.data), m.from, nil
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	case <-moved:
		return 0, nil, errMoved
	case <-d.closed:
		return 0, nil, net.ErrClosed
	case <-d.s.Done():
		select {
		case <-d.closed:
			return 0, nil, net.ErrClosed
		default:
			return 0, nil, d.s.Err()
		}
	}
}

func (d *datagrams) WriteTo(p []byte, to net.Addr) (int, error) {
	a, ok := to.(asker)
	if !ok {
		return 0, fmt.Errorf("no asker of this bottle has the address %v", to)
	}
	if len(p) > maxDatagram {
		return 0, fmt.Errorf("a datagram of %d bytes, at most %d are allowed", len(p), maxDatagram)
	}
	d.mu.Lock()
	st := d.st
	d.mu.Unlock()
	if st == nil {
		return 0, errors.New("the bottle has not asked anything yet")
	}
	if _, err := st.Write(appendDatagram(nil, uint32(a), p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (d *datagrams) Close() error {
	d.once.Do(func() {
		close(d.closed)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.st != nil {
			_ = d.st.Close() // it never fails
		}
	})
	return nil
}

func (d *datagrams) LocalAddr() net.Addr { return streamAddr{d.s.side, KindDNS, 0} }

// SetDeadline sets the deadline of ReadFrom; an answer waits for nothing worth a deadline.
func (d *datagrams) SetDeadline(t time.Time) error { return d.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (d *datagrams) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readEnd = t
	close(d.moved)
	d.moved = make(chan struct{})
	return nil
}

// SetWriteDeadline implements net.PacketConn.
func (d *datagrams) SetWriteDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.st == nil {
		return nil
	}
	return d.st.SetWriteDeadline(t)
}
