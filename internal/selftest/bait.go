package selftest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Options say where and for whom baits are laid out.
type Options struct {
	// Dir is the bottle's state folder on this host; the planted file and socket go there. It is
	// never mounted in the bottle.
	Dir string
	// ControlHost is the name the egress engine answers itself, with Nonce. Empty means the
	// package's ControlHost and a new random nonce, which Bait.Nonce tells.
	ControlHost string
	Nonce       string
	// Listed reports whether the bottle's policy has a route for a name; nil means that it has
	// none. Prepare uses it to find a public name that the engine must refuse.
	Listed func(name string) bool
	// Limits is true when process and file limits are meant to be in force.
	Limits bool
	// PIDs is how many processes the bottle may have, 0 when that is not known.
	PIDs int64
}

// pidsSlack is how many processes more than the bottle may have a limit may allow: a backend leaves
// room for cork's own threads.
const pidsSlack = 512

func withSlack(pids int64) int64 {
	if pids <= 0 {
		return 0
	}
	return pids + pidsSlack
}

// ControlHost is the name that the egress engine answers itself. Nobody can own it: .internal is
// reserved for names that are nobody's outside.
const ControlHost = "control.claude-bottle.internal"

// Bait is what is laid out on the host for one self-test. Its methods are for one goroutine, but
// for Touched, which is safe at any time.
type Bait struct {
	req       wire.ProbeRequest
	listeners []*listener
	remove    []string // files and folders, removed by Close
	asked     time.Time
}

// unlistedNames exist in public DNS; one of them is hardly ever in a policy.
var unlistedNames = []string{"example.com", "example.org", "example.net", "iana.org", "www.wikipedia.org", "dns.google"}

// proofTime bounds the proof that the baits live. They are on this very host, which may be busy.
const proofTime = 10 * time.Second

// Prepare lays out the baits and proves each alive from the host's side: a bait that would not
// have bitten proves nothing. The caller closes the Bait. On error nothing is left.
func Prepare(ctx context.Context, o Options) (_ *Bait, err error) {
	b := &Bait{req: wire.ProbeRequest{
		Nonce:       cmp.Or(o.Nonce, rand.Text()),
		ControlHost: cmp.Or(o.ControlHost, ControlHost),
		HostNonce:   rand.Text(),
		Neighbours:  neighbours(),
		Limits:      o.Limits,
		PIDs:        withSlack(o.PIDs),
	}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	i := slices.IndexFunc(unlistedNames, func(n string) bool { return o.Listed == nil || !o.Listed(n) })
	if i < 0 {
		return nil, errors.New("self-test: the policy allows every name the test could try to be refused; narrow its hosts")
	}
	b.req.Unlisted = unlistedNames[i]
	if err := b.listenTCP(); err != nil {
		return nil, fmt.Errorf("self-test: bait listener: %w", err)
	}
	if err := b.listenUnix(o.Dir); err != nil {
		return nil, fmt.Errorf("self-test: bait socket: %w", err)
	}
	if err := b.plant(o.Dir); err != nil {
		return nil, fmt.Errorf("self-test: bait file: %w", err)
	}
	if err := b.prove(ctx); err != nil {
		return nil, fmt.Errorf("self-test: %w", err)
	}
	return b, nil
}

// Nonce is what the egress engine's control host must answer.
func (b *Bait) Nonce() string { return b.req.Nonce }

// Request is what to ask of cork. Its call starts the clock of Summary.Took.
func (b *Bait) Request() wire.ProbeRequest {
	b.asked = time.Now()
	return b.req
}

// Touched names the baits that were contacted since they were proven: "127.0.0.1:40123 from
// 127.0.0.1:51000". Each is a leak, whatever the bottle reported.
func (b *Bait) Touched() []string {
	var all []string
	for _, l := range b.listeners {
		all = append(all, l.contacts()...)
	}
	return all
}

// Close takes the baits away and waits until nothing of them is left; the error is of a file that
// could not be removed. Closing twice is fine.
func (b *Bait) Close() error {
	for _, l := range b.listeners {
		l.close()
	}
	var errs []error
	for _, path := range b.remove {
		errs = append(errs, os.RemoveAll(path))
	}
	b.remove = nil
	return errors.Join(errs...)
}

// listenTCP opens a bait on each kind of address of this host.
func (b *Bait) listenTCP() error {
	addrs := []string{"127.0.0.1", "::1"}
	if a := outward(); a != "" {
		addrs = append(addrs, a)
	}
	for _, a := range addrs {
		l, err := net.Listen("tcp", net.JoinHostPort(a, "0"))
		if err != nil {
			if a == "127.0.0.1" {
				return err
			}
			continue // a host without IPv6, or whose address is gone again: nothing to reach there
		}
		b.serve(l, l.Addr().String())
		b.req.HostTCP = append(b.req.HostTCP, l.Addr().String())
	}
	return nil
}

// maxSocketPath is what fits every system's socket address.
const maxSocketPath = 100

// listenUnix opens a bait in dir and, where there is such a thing, an abstract one.
func (b *Bait) listenUnix(dir string) error {
	path := filepath.Join(dir, "bait.sock")
	if len(path) > maxSocketPath {
		short, err := os.MkdirTemp("/tmp", "claude-bottle-")
		if err != nil {
			return err
		}
		b.remove = append(b.remove, short)
		path = filepath.Join(short, "bait.sock")
	}
	_ = os.Remove(path) // one from a launch that crashed; a path that can't be removed fails below
	names := []string{path}
	if abstractSockets {
		names = append(names, "@claude-bottle-"+strings.ToLower(b.req.HostNonce[:16]))
	}
	for _, name := range names {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			return err
		}
		b.serve(l, name)
		b.req.HostUnix = append(b.req.HostUnix, name)
	}
	return nil
}

// plant writes the bait file, as any file of the operator's.
func (b *Bait) plant(dir string) error {
	path := filepath.Join(dir, "bait")
	b.remove = append(b.remove, path)
	if err := os.WriteFile(path, []byte(b.req.HostNonce+"\n"), 0o600); err != nil {
		return err
	}
	b.req.HostFiles = []string{path}
	return nil
}
