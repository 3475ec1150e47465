package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// maxAddrs bounds how many addresses of a name are tried.
const maxAddrs = 6

// dial connects to host and port for a road. The name is resolved once, every address is checked,
// and one of the checked addresses is dialled: there is no second look-up whose answer could
// differ. One bad address among good ones refuses all, since who answers so is not to be trusted.
func (d *road) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.e.cfg.Limits.Dial)
	defer cancel()
	host, portText, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", portText, err)
	}
	var addrs []netip.Addr
	literal, err := netip.ParseAddr(host)
	if err == nil {
		addrs = []netip.Addr{literal}
	} else if addrs, err = d.e.cfg.Resolve(ctx, host); err != nil {
		return nil, fmt.Errorf("%s can't be resolved: %w", host, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap()
		if why := d.check(host, addrs[i]); why != "" {
			return nil, &deniedError{d.guardVerdict(host, addrs[i], why)}
		}
	}
	addrs = addrs[:min(len(addrs), maxAddrs)]
	var errs []error
	for i, a := range addrs {
		c, err := d.dialOne(ctx, network, netip.AddrPortFrom(a, uint16(port)), len(addrs)-i)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// dialOne gives an address its share of the time left.
func (d *road) dialOne(ctx context.Context, network string, a netip.AddrPort, left int) (net.Conn, error) {
	if end, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	return d.e.cfg.Dial(ctx, network, a)
}

// check returns why a may not be dialled on this road, or nothing.
func (d *road) check(host string, a netip.Addr) string {
	if metadata(a) {
		return "a cloud metadata address, which no rule can open"
	}
	kind, within := special(a)
	if kind == "" {
		return ""
	}
	if !within.IsValid() {
		return kind // nothing can name it
	}
	named := isAddr(host) || d.upstream != nil && (host == "localhost" || !a.IsLoopback() && !a.IsLinkLocalUnicast())
	if named {
		return ""
	}
	for _, n := range d.route.Networks {
		// A network opens what it lies within. 0.0.0.0/0 means the world, not this machine.
		if n.Contains(a) && within.Contains(n.Addr()) && n.Bits() >= within.Bits() {
			return ""
		}
	}
	return kind
}

func (d *road) guardVerdict(host string, a netip.Addr, why string) policy.Verdict {
	v := policy.Verdict{Rule: d.route.ID, Why: fmt.Sprintf("%s resolved to %s, %s", host, a, why)}
	if _, within := special(a); within.IsValid() && !metadata(a) {
		v.Ask = fmt.Sprintf("egress:\n  routes:\n    - host: %q\n      networks: [%q]\n", d.route.Host, netip.PrefixFrom(a, a.BitLen()))
	} else {
		v.Ask = "# nothing: no rule can open this address\n"
	}
	return v
}
