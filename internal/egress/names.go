package egress

import (
	"container/list"
	"net/netip"
	"sync"
)

// pool is the range DNS answers come from: set aside for benchmarks (RFC 2544), so that no host
// anywhere has one of its addresses.
var pool = netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, 0}), 15)

const (
	poolSize = 1 << 17
	// maxNames bounds the table: below a wildcard a bottle can ask for any number of names.
	maxNames = 8192
)

func synthetic(a netip.Addr) bool { return pool.Contains(a) }

// names gives each allowed name an address of its own and finds the name again when the address is
// dialled. A name keeps its address as long as it is in use. The least recently used one goes when
// the table is full; its address is not given to another name until the whole range was, so an
// address held too long leads to a refusal and not to the wrong host.
type names struct {
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

func newNames() *names {
	return &names{byName: make(map[string]*list.Element), byAddr: make(map[uint32]*list.Element)}
}

// addr returns name's address, and whether it was given just now.
func (t *names) addr(name string) (netip.Addr, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byName[name]; ok {
		t.recent.MoveToFront(e)
		return at(e.Value.(named).n), false
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
	return at(t.next), true
}

// owner returns the name an address was given to.
func (t *names) owner(a netip.Addr) (string, bool) {
	if !synthetic(a) {
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

func at(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18 | byte(n>>16), byte(n >> 8), byte(n)})
}
