package egress

import (
	"errors"
	"net/http"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress/inspect"
	"github.com/claude-bottle/claude-bottle/internal/egress/ws"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/usage"
)

// inspect looks into a request that the policy allows. What comes back as a denial must not be
// forwarded; otherwise the request's body has become one that may be.
func (x *exchange) inspect() (policy.Verdict, bool) {
	if v, spent := x.spend(x.r.ContentLength); spent {
		return v, true
	}
	in := x.e.cfg.Inspector
	if in == nil {
		return policy.Verdict{}, false
	}
	var replaced []string
	if x.route.Auth != nil {
		replaced = identities[:]
	}
	if rep := in.Head(x.r, x.host, x.path, x.route.Scan, replaced...); x.noted(rep) {
		return rep.Verdict(x.route.ID), true
	}
	body, rep := in.Body(x.r, x.host+x.path, x.route.Scan)
	if rep.Stopped() {
		x.noted(rep)
		return rep.Verdict(x.route.ID), true
	}
	if body != nil {
		x.body, x.r.Body = body, body
	}
	return policy.Verdict{}, false
}

// alarm looks for the canary in a request that is denied anyway: somebody reads and sends what there
// was no reason to read, wherever it was to go.
func (x *exchange) alarm() {
	if x.e.cfg.Inspector == nil || x.r == nil || x.r.URL == nil {
		return
	}
	rep := x.e.cfg.Inspector.Head(x.r, x.host, x.path, policy.Scan{})
	x.noted(canaryOf(rep))
}

// alarmName looks for the canary in a name that is denied anyway.
func (e *Engine) alarmName(name string) inspect.Report {
	if e.cfg.Inspector == nil {
		return inspect.Report{}
	}
	return canaryOf(e.cfg.Inspector.Name(name, policy.Scan{}))
}

// canaryOf is what is told of a report about something that is denied for another reason.
func canaryOf(rep inspect.Report) inspect.Report {
	told := inspect.Report{HideHost: rep.HideHost, HidePath: rep.HidePath}
	if f := rep.Blocked; f != nil && f.Kind == scan.Canary {
		told.Blocked = f
	}
	return told
}

const (
	hidden     = "[redacted]"
	hiddenName = "no rule of this bottle names the host, which holds a secret and is not told"
)

// hush takes out of a text about something denied, or found, what nobody may be shown: a secret in
// whatever disguise.
func (e *Engine) hush(text string) string {
	text = e.scrub.text(text)
	if e.cfg.Inspector != nil {
		text = e.cfg.Inspector.Redact(text)
	}
	return text
}

// shown are host and path as a denial and the audit log have them.
func (x *exchange) shown() (host, path string) {
	host, path = x.e.safe(x.host), x.e.scrub.path(x.path)
	if !x.verdict.Allowed() || len(x.findings) > 0 {
		host, path = x.e.hush(host), x.e.hush(path)
	}
	if x.hideHost {
		host = hidden
	}
	if x.hidePath {
		path = "/" + hidden
	}
	return host, path
}

// why is a verdict's reason as it may be told.
func (x *exchange) why(v policy.Verdict) (why, ask string) {
	why, ask = x.e.hush(v.Why), x.e.hush(v.Ask)
	// A denial by the policy quotes what was asked for.
	if x.hideHost && strings.Contains(why, x.host) {
		why, ask = hiddenName, ""
	}
	if x.hidePath && x.path != "" && strings.Contains(why, x.path[:min(len(x.path), 100)]) {
		why, ask = "the path holds a secret, and is not told; no rule of this bottle allows it", ""
	}
	return why, ask
}

// noted keeps a report for the audit event and reports whether it stops the exchange.
func (x *exchange) noted(rep inspect.Report) bool {
	x.findings = append(x.findings, findings(rep)...)
	x.hideHost, x.hidePath = x.hideHost || rep.HideHost, x.hidePath || rep.HidePath
	return rep.Stopped()
}

// findings are a report's, as the audit log has them.
func findings(rep inspect.Report) (all []audit.Finding) {
	add := func(f inspect.Found, action string) {
		all = append(all, audit.Finding{
			Kind: f.Kind.String(), Name: f.Rule, Where: f.Where, Via: f.Via, Digest: f.Digest, Excerpt: f.Excerpt, Action: action,
		})
	}
	for _, f := range rep.Redacted {
		add(f, "redacted")
	}
	for _, f := range rep.Warned {
		add(f, "warned")
	}
	if rep.Blocked != nil {
		add(*rep.Blocked, "blocked")
	}
	return all
}

// inspected gathers, when an exchange is over, what was found while it passed.
func (x *exchange) inspected() {
	if x.body != nil {
		x.noted(x.body.Report())
	}
	if x.answerBody != nil {
		for _, n := range x.answerBody.Notes() {
			x.findings = append(x.findings, audit.Finding{Kind: n.Kind, Where: "the answer", Excerpt: n.Text, Action: n.Action})
		}
	}
}

// halted reports whether err, or the body that a transport was reading when it failed, is a denial,
// which then is the exchange's verdict.
func (x *exchange) halted(err error) bool {
	if d, ok := errors.AsType[*deniedError](err); ok {
		x.verdict = d.verdict
		return true
	}
	if errors.Is(err, inspect.ErrOrders) {
		if x.answerBody == nil { // it was refused before there was one
			x.findings = append(x.findings, audit.Finding{Kind: "orders", Where: "the answer", Action: "blocked"})
		}
		x.verdict = policy.Verdict{Rule: x.route.ID, Why: "the answer holds what reads like orders to a model, which rule " + x.route.ID + " refuses",
			Ask: "# if the answer is to pass, on the rule " + x.route.ID + ":\n      dlp: {injection: warn}\n"}
		return true
	}
	if x.body == nil {
		return false
	}
	rep := x.body.Report()
	if rep.Stopped() {
		x.verdict = rep.Verdict(x.route.ID)
	}
	return rep.Stopped()
}

// clean makes an upstream's answer fit for the bottle.
func (x *exchange) clean(res *http.Response) error {
	if x.e.cfg.Inspector == nil {
		return nil
	}
	var err error
	x.answerBody, err = x.e.cfg.Inspector.Answer(res, x.ref(), x.route.Scan)
	return err
}

// ref names the credential that is injected; empty for none.
func (x *exchange) ref() string {
	if x.route.Auth == nil {
		return ""
	}
	return x.route.Auth.Ref
}

// overwrites reports whether something may have to be overwritten in what goes over a WebSocket. In a
// compressed message that can't be done, so there is to be none.
func (x *exchange) overwrites() bool {
	in := x.e.cfg.Inspector
	return in != nil && (x.route.Scan.Action() == policy.Redact || in.Hearing(x.ref(), x.route.Scan) != nil)
}

// messages looks into what goes over a WebSocket, which is plain or compressed. Done is for when it has
// ended.
func (x *exchange) messages(plain bool) (look ws.Inspect, done func()) {
	in := x.e.cfg.Inspector
	if in == nil {
		return nil, func() {}
	}
	said := in.Conversation(x.host+x.path, x.route.Scan, plain)
	heard, aside := in.Hearing(x.ref(), x.route.Scan), in.Hearing(x.ref(), x.route.Scan) // control frames come in between
	echoes := 0
	var told usage.Messages
	counts := usage.ModelPath(x.path)
	hear := func(op ws.Opcode, part []byte, last bool) error {
		if heard != nil {
			h := heard
			if op != ws.Text && op != ws.Binary {
				h = aside
			}
			found, err := h.Hear(part, last)
			if found {
				echoes++
			}
			if err != nil {
				return err
			}
		}
		if counts && op == ws.Text {
			_, _ = told.Write(part) // never fails
			if last {
				if u, ok := told.End(); ok {
					x.recordAnswer(u)
				}
			}
		}
		return nil
	}
	say := func(part []byte, last bool) error {
		if v, spent := x.spend(int64(len(part))); spent {
			return &deniedError{v}
		}
		if rep := said.Say(part, last); x.noted(rep) {
			return &inspect.StoppedError{Report: rep}
		}
		return nil
	}
	look = func(dir ws.Direction, op ws.Opcode, part []byte, last bool) error {
		if dir == ws.Out {
			return say(part, last)
		}
		return hear(op, part, last)
	}
	return look, func() {
		if echoes > 0 {
			x.findings = append(x.findings, audit.Finding{Kind: "echo", Where: "a WebSocket message", Excerpt: "the injected credential", Action: "redacted"})
		}
	}
}
