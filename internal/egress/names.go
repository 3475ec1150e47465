package egress

import (
	"container/list"
	"net/netip"
	"sync"
)

const (
	// poolSize is how many addresses each of wire's pools has.
	poolSize = 1 << 17
	// maxNames bounds the table: below a wildcard a bottle can ask for any number of names.
	maxNames = 8192
)

// names gives each allowed name an address of its own and finds the name again when the address is
// dialled. A name keeps its address as long as it is in use. The least recently used one goes when
// the table is full; its address is not given to another name until the whole range was, so an
// address held too long leads to a refusal and not to the wrong host.
type names struct {
	pool   netip.Prefix
	mu     sync.Mutex
	next   uint32
	byName map[string]*list.Element
	byAddr map[uint32]*list.Element
	recent list.List // of named, most recently used first
}

type named struct {
	name string
	n    uint32 // offset in the pool
}

func newNames(pool netip.Prefix) *names {
	return &names{pool: pool, byName: make(map[string]*list.Element), byAddr: make(map[uint32]*list.Element)}
}

// addr returns name's address, and whether it was given just now.
func (t *names) addr(name string) (netip.Addr, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byName[name]; ok {
		t.recent.MoveToFront(e)
		return t.at(e.Value.(named).n), false
	}
	if t.recent.Len() >= maxNames {
		old := t.recent.Remove(t.recent.Back()).(named)
		delete(t.byName, old.name)
		delete(t.byAddr, old.n)
	}
	for {
		// The first and the last address look like a network's own to some programs.
		t.next = t.next%(poolSize-2) + 1
		if _, taken := t.byAddr[t.next]; !taken {
			break
		}
	}
	e := t.recent.PushFront(named{name, t.next})
	t.byName[name], t.byAddr[t.next] = e, e
	return t.at(t.next), true
}

// owner returns the name an address was given to.
func (t *names) owner(a netip.Addr) (string, bool) {
	if !t.pool.Contains(a) {
		return "", false
	}
	b := a.As4()
	n := uint32(b[1]&1)<<16 | uint32(b[2])<<8 | uint32(b[3])
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byAddr[n]
	if !ok {
		return "", false
	}
	t.recent.MoveToFront(e)
	return e.Value.(named).name, true
}

func (t *names) at(n uint32) netip.Addr {
	b := t.pool.Addr().As4()
	return netip.AddrFrom4([4]byte{b[0], b[1] | byte(n>>16), byte(n >> 8), byte(n)})
}
