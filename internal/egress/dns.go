package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress/inspect"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

const (
	// maxQuery is what a query over UDP may have; ours never need more.
	maxQuery = 1232
	// dnsTTL is short because an address may be given away when the table is full, in seconds.
	dnsTTL = 60
)

// ServeDNS answers queries until ctx ends or p is closed, which it closes. Nothing is ever asked
// of another resolver: a name some rule allows gets an address of ours, any other does not exist.
func (e *Engine) ServeDNS(ctx context.Context, p net.PacketConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = p.Close() // the read below sees it
	})
	defer func() { cancel(); <-closed }()
	buf := make([]byte, maxQuery+1)
	var out []byte
	failed := 0
	for {
		n, from, err := p.ReadFrom(buf)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// A datagram's trouble (its sender is gone) is not the socket's; a run of them is.
			if failed++; failed > 100 {
				return fmt.Errorf("egress: dns: %w", err)
			}
			continue
		}
		failed = 0
		if n > maxQuery {
			continue
		}
		if out = e.answer(buf[:n], out[:0]); len(out) > 0 {
			_ = p.SetWriteDeadline(time.Now().Add(time.Second)) // a dead socket ends the loop above
			_, _ = p.WriteTo(out, from)                         // datagrams may be lost; the client asks again
		}
	}
}

// answer appends the answer to query to out, or nothing when it deserves none.
func (e *Engine) answer(query, out []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	reply := dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true}
	q, err := p.Question()
	if err != nil {
		reply.RCode = dnsmessage.RCodeFormatError
		return pack(reply, nil, nil, out)
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		reply.RCode = dnsmessage.RCodeFormatError
		return pack(reply, nil, nil, out)
	}
	if h.OpCode != 0 || q.Class != dnsmessage.ClassINET {
		reply.RCode = dnsmessage.RCodeNotImplemented
		return pack(reply, &q, nil, out)
	}
	name, v := e.resolve(q.Name.String())
	if !v.Allowed() {
		e.recordDNS(q, v, e.alarmName(strings.TrimSuffix(q.Name.String(), ".")))
		reply.RCode = dnsmessage.RCodeNameError
		return pack(reply, &q, nil, out)
	}
	if q.Type != dnsmessage.TypeA {
		// The name exists and has no such record: clients go on with A. HTTPS and SVCB records,
		// which could carry keys for an encrypted ClientHello, are among what is not there.
		return pack(reply, &q, nil, out)
	}
	if in := e.cfg.Inspector; in != nil && !e.isControl(name) {
		// Nothing is asked of anybody outside, but what is resolved is connected to next.
		if rep := in.Name(name, policy.Scan{}); rep.Stopped() {
			e.recordDNS(q, rep.Verdict(v.Rule), rep)
			reply.RCode = dnsmessage.RCodeNameError
			return pack(reply, &q, nil, out)
		}
	}
	addr, first := e.names.addr(name)
	if first {
		e.recordDNS(q, v, inspect.Report{})
	}
	a := dnsmessage.AResource{A: addr.As4()}
	return pack(reply, &q, &a, out)
}

// resolve judges a query's name.
func (e *Engine) resolve(asked string) (string, policy.Verdict) {
	name, err := policy.Canonical(strings.TrimSuffix(asked, "."))
	if err != nil {
		return "", e.cfg.Policy.Resolve(asked)
	}
	if e.isControl(name) {
		return name, policy.Verdict{Action: policy.Allow, Rule: controlRule, Why: "the bottle's own control host"}
	}
	if isAddr(name) {
		return "", policy.Verdict{Why: "an address is not a name to resolve", Ask: "# nothing: connect to the address itself\n"}
	}
	return name, e.cfg.Policy.Resolve(name)
}

func pack(h dnsmessage.Header, q *dnsmessage.Question, a *dnsmessage.AResource, out []byte) []byte {
	b := dnsmessage.NewBuilder(out, h)
	fill := func() error {
		if q == nil {
			return nil
		}
		if err := b.StartQuestions(); err != nil {
			return err
		}
		if err := b.Question(*q); err != nil {
			return err
		}
		if a == nil {
			return nil
		}
		if err := b.StartAnswers(); err != nil {
			return err
		}
		return b.AResource(dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: dnsTTL}, *a)
	}
	if err := fill(); err != nil {
		return nil
	}
	msg, err := b.Finish()
	if err != nil {
		return nil
	}
	return msg
}

// recordDNS records a query and what was found in its name.
func (e *Engine) recordDNS(q dnsmessage.Question, v policy.Verdict, rep inspect.Report) {
	ev := audit.Event{
		Kind: audit.KindDNS, Via: audit.ViaDNS, Findings: findings(rep),
		Verdict: word(v), Rule: v.Rule, Why: e.hush(v.Why),
		Host: e.hush(e.safe(strings.TrimSuffix(q.Name.String(), "."))), Method: strings.TrimPrefix(q.Type.String(), "Type"),
	}
	if rep.HideHost {
		ev.Host = hidden
		if v.Ask == "" || !strings.HasPrefix(v.Ask, "#") { // the policy's own, which quotes the name
			ev.Why = hiddenName
		}
	}
	e.cfg.Record(ev)
}
