package inspect

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
)

// judging collects what is found in one thing and decides what becomes of it.
type judging struct {
	in    *Inspector
	s     policy.Scan
	rep   Report
	found []scan.Finding // scratch
	cut   []span         // what was overwritten
}

// span is a part of a body.
type span struct{ from, to int64 }

// overwrite fills f's span of b, which begins at base, unless what was found there first did: a
// secret that also looks like some credential is called by its name.
func (j *judging) overwrite(b []byte, base int64, f Found) {
	if slices.ContainsFunc(j.cut, func(s span) bool { return s.from <= f.Start && f.End <= s.to }) {
		return
	}
	j.cut = append(j.cut[max(0, len(j.cut)-maxReported):], span{f.Start, f.End})
	fill(b[f.Start-base:f.End-base], f)
}

func (in *Inspector) judge(s policy.Scan) *judging { return &judging{in: in, s: s} }

func (j *judging) report() Report { return j.rep }

// look scans one surface on which nothing can be replaced.
func (j *judging) look(where string, text []byte) {
	j.found = j.in.scanner.Scan(j.found[:0], text)
	for _, f := range j.found {
		j.take(Found{f, where}, false)
	}
}

// joined scans values that were sent apart, as one. Where values have nothing to do with each other,
// as header fields, only secrets count: beside each other they come to many shapes.
func (j *judging) joined(where func(at int64) string, parts [][]byte, related bool) {
	j.found = j.found[:0]
	if len(parts) < 2 {
		return
	}
	j.found = j.in.scanner.Joined(j.found[:0], parts...)
	for _, f := range j.found {
		if related || f.Kind != scan.Shape {
			j.take(Found{f, where(centre(f))}, false)
		}
	}
}

// centre is the offset that says where a finding is: the ends of a disguise may reach into its
// neighbours.
func centre(f scan.Finding) int64 { return (f.Start + f.End) / 2 }

// always is a place that doesn't depend on the offset.
func always(where string) func(int64) string { return func(int64) string { return where } }

// guess is the one shape that is none: a word like key or token, and something random behind it. So
// do idempotency keys look, a WebSocket's handshake, the cursor of a list.
const guess = "generic-api-key"

// The surfaces that are shown to people and must not be when a secret stands in them.
const (
	inHost   = "the host name"
	inLabels = "the labels of the host name together"
	inPath   = "the path"
	inTarget = "the path and the query together"
)

// take decides about one finding. Replaceable says that its span can be cut out in place; take then
// reports whether it is to be.
func (j *judging) take(f Found, replaceable bool) (replace bool) {
	if f.Kind != scan.Entropy {
		j.rep.HideHost = j.rep.HideHost || f.Where == inHost || f.Where == inLabels
		j.rep.HidePath = j.rep.HidePath || f.Where == inPath || f.Where == inTarget
	}
	if j.passes(f) {
		return false
	}
	switch {
	case f.Kind == scan.Entropy, f.Kind == scan.Shape && f.Rule == guess, j.s.Model && (f.Kind == scan.Exhausted || f.Kind == scan.Shape && split(f)):
		// What a model was told once comes with everything it is told later: a text that is odd and no
		// more must not end the conversation.
		j.rep.Warned = reported(j.rep.Warned, f)
	case replaceable && (f.Kind != scan.Canary || j.s.Model) && j.s.Action() == policy.Redact:
		// An agent that prints its environment tells its model the canary, and no thief.
		j.rep.Redacted = reported(j.rep.Redacted, f)
		return true
	case j.rep.Blocked == nil || f.Kind == scan.Canary && j.rep.Blocked.Kind != scan.Canary:
		j.rep.Blocked = &f
	}
	return false
}

// split reports whether only several values together come to the finding.
func split(f Found) bool { return strings.HasPrefix(f.Via, "split") }

// maxReported bounds what is told of one exchange.
const maxReported = 32

func reported(all []Found, f Found) []Found {
	if len(all) < maxReported {
		all = append(all, f)
	}
	return all
}

// passes reports whether the route lets the finding go: its detector is off, or it is named.
func (j *judging) passes(f Found) bool {
	detector := map[scan.Kind]policy.Detector{
		scan.Known: policy.KnownSecrets, scan.Shape: policy.TokenPatterns, scan.Entropy: policy.Entropy,
	}[f.Kind]
	return f.Kind != scan.Canary && (slices.Contains(j.s.Off, detector) || slices.Contains(j.s.Allow, f.Rule))
}

// trailer looks at the fields that came after a body.
func (j *judging) trailer(h http.Header) {
	for name, values := range h {
		for _, v := range values {
			j.look("a trailer field", []byte(name+": "+v))
		}
	}
}

// opaque notes that something can't be looked into.
func (j *judging) opaque(where string, err error) {
	if j.rep.Opaque == "" {
		j.rep.Opaque = where + " can't be looked into: " + err.Error()
	}
}

// Verdict is the denial a stopped request is answered with.
func (r *Report) Verdict(route string) policy.Verdict {
	v := policy.Verdict{Rule: route}
	f := r.Blocked
	if f == nil {
		v.Why = r.Opaque
		v.Ask = "# nothing: send it in a form that can be looked into\n"
		return v
	}
	v.Why = f.String()
	switch f.Kind {
	case scan.Canary:
		v.Ask = "# nothing: that value exists to show that something reads and sends what it finds\n"
		return v
	case scan.Exhausted:
		v.Ask = "# nothing: send it in a simpler form\n"
		return v
	}
	v.Ask = "# if this host is to have it, on the rule " + route + ":\n      dlp: {allow: [" + f.Rule + "]}\n"
	return v
}

// String says what was found where, without the value: "the body carries the secret DB_URL of this
// bottle, disguised as base64".
func (f Found) String() string {
	var b strings.Builder
	b.WriteString(f.Where + " carries ")
	switch f.Kind {
	case scan.Canary:
		b.WriteString("this bottle's canary, a value planted for thieves")
	case scan.Known:
		b.WriteString("the secret " + f.Rule + " of this bottle")
	case scan.Entropy:
		b.WriteString("what looks like data in the place of a name")
	case scan.Exhausted:
		b.WriteString("so many encodings inside each other that not all could be looked into")
	default:
		fmt.Fprintf(&b, "what looks like a credential (%s: %s)", f.Rule, f.Excerpt)
	}
	if f.Via != "" {
		b.WriteString(", disguised as " + f.Via)
	}
	return b.String()
}
