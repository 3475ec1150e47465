package wire

import "sync"

// ringSizes are the capacities a ring grows through; the largest holds a full window.
var ringSizes = [...]int{8 << 10, firstWindow, fullWindow}

// ringPools keeps unused memory of each size. An idle stream holds none.
var ringPools [len(ringSizes)]sync.Pool

// ring is a first-in-first-out byte buffer whose writer may fill reserved space without holding
// the lock that guards the rest. It never holds more than the largest of ringSizes.
type ring struct {
	buf  []byte
	r, n int
	// pinned counts users of buf's memory outside the lock; while it is not zero the memory is
	// not given to anyone else.
	pinned int
}

// tail returns free space for n bytes behind what is held, in two parts, growing if needed. The
// caller fills both and then commits. Taking bytes out in between does not move the space.
func (q *ring) tail(n int) (a, b []byte) {
	if q.n+n > len(q.buf) {
		q.grow(q.n + n)
	}
	w := q.r + q.n
	if w >= len(q.buf) {
		w -= len(q.buf)
	}
	if w+n <= len(q.buf) {
		return q.buf[w : w+n], nil
	}
	a = q.buf[w:]
	return a, q.buf[:n-len(a)]
}

func (q *ring) grow(need int) {
	i := 0
	for ringSizes[i] < need {
		i++
	}
	next := takeRing(i)
	a, b := q.segments()
	copy(next[copy(next, a):], b)
	if q.pinned == 0 {
		giveRing(q.buf)
	}
	q.buf, q.r = next, 0
}

func (q *ring) commit(n int) { q.n += n }

// segments returns what is held, in order.
func (q *ring) segments() (a, b []byte) {
	if q.r+q.n <= len(q.buf) {
		return q.buf[q.r : q.r+q.n], nil
	}
	a = q.buf[q.r:]
	return a, q.buf[:q.n-len(a)]
}

// read moves bytes into p and returns how many.
func (q *ring) read(p []byte) int {
	a, b := q.segments()
	n := copy(p, a)
	if n == len(a) {
		n += copy(p[n:], b)
	}
	q.discard(n)
	return n
}

func (q *ring) discard(n int) {
	q.n -= n
	if q.r += n; q.r >= len(q.buf) {
		q.r -= len(q.buf)
	}
	if q.n == 0 {
		q.release()
	}
}

// release gives the memory back if nothing is in it and nobody is about to use it.
func (q *ring) release() {
	if q.pinned == 0 {
		giveRing(q.buf)
		q.buf, q.r = nil, 0
	}
}

// drop forgets everything held.
func (q *ring) drop() {
	q.n = 0
	q.release()
}

func takeRing(i int) []byte {
	if b, ok := ringPools[i].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, ringSizes[i])
}

func giveRing(b []byte) {
	for i, size := range ringSizes {
		if len(b) == size {
			ringPools[i].Put(&b)
		}
	}
}
