// Package inspect looks into what a bottle sends and is sent, on every surface of HTTP that can
// carry a secret, and says what is to become of it. It knows no connection: the egress engine gives
// it a request that the policy allows, and gets a body back that is safe to forward, or the finding
// that forbids it.
//
// A request's head (head.go) and a body whose length is known and small (held.go) are looked at as a
// whole before anything is forwarded. A longer body is looked at as it passes (passing.go): what
// could still be the beginning of a secret is held back, so that the secret does not arrive, and the
// rest goes on. What is found is blocked or replaced (decide.go, redact.go), by the route's
// policy.Scan. Answers have their own reader (answer.go): it takes out a credential the upstream
// sends back, and what nobody would see in a text.
//
// No text of a finding holds the value found.
package inspect

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/scan/unpack"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// Config is what an Inspector works with.
type Config struct {
	// Scanner finds the bottle's own secrets and what credentials look like. It is obligatory.
	Scanner *scan.Scanner
	// Echoes are the credentials that are injected and must not come back, by their policy.Auth.Ref.
	Echoes map[string][]secret.Value
	// Limits bound what is unpacked of one body; zero fields mean unpack's defaults.
	Limits unpack.Limits
}

// Inspector inspects one bottle's traffic. It is safe for concurrent use.
type Inspector struct {
	scanner *scan.Scanner
	memory  *scan.Memory
	echoes  map[string]literals
	limits  unpack.Limits
	holding atomic.Int64 // bytes of the bodies held now
	// innocent are sums of header fields in which nothing was found. Their seed is nobody's, so that
	// none can be made to look like another.
	innocent [256]atomic.Uint64
	seed     maphash.Seed
}

// New makes an Inspector.
func New(cfg Config) *Inspector {
	in := &Inspector{scanner: cfg.Scanner, memory: cfg.Scanner.NewMemory(), limits: cfg.Limits, seed: maphash.MakeSeed(), echoes: make(map[string]literals)}
	for ref, v := range cfg.Echoes {
		in.echoes[ref] = newLiterals(v...)
	}
	return in
}

// Found is one finding and the place it was found in.
type Found struct {
	scan.Finding
	// Where names the surface: "the path", "the header X-Token", "the body".
	Where string
}

// Report is what inspecting something came to.
type Report struct {
	// Blocked is the finding that forbids it; nil when nothing does.
	Blocked *Found
	// Opaque says, in words, why something could not be looked into, which forbids it too.
	Opaque string
	// Redacted are the findings that were replaced in place.
	Redacted []Found
	// Warned are findings that change nothing.
	Warned []Found
	// HideHost and HidePath say that the host name, or the path, holds a secret, let go or not: nobody
	// may be shown it.
	HideHost, HidePath bool
}

// Stopped reports whether the thing inspected must not go on.
func (r *Report) Stopped() bool { return r.Blocked != nil || r.Opaque != "" }

// Redact cuts out of a text, for a log or a denial, what must not stand in it.
func (in *Inspector) Redact(text string) string {
	var few [4]scan.Finding
	found := in.scanner.Scan(few[:0], []byte(text))
	if len(found) == 0 {
		return text
	}
	slices.SortFunc(found, func(a, b scan.Finding) int { return cmp.Compare(a.Start, b.Start) })
	var b strings.Builder
	done := int64(0)
	for _, f := range found {
		if f.Kind == scan.Entropy || f.Kind == scan.Shape && f.Rule == guess || f.End <= done {
			continue
		}
		b.WriteString(text[done:max(done, f.Start)] + "[redacted]")
		done = f.End
	}
	b.WriteString(text[done:])
	return b.String()
}

// Name judges a name the bottle asks for or connects to: data can leave in its labels.
func (in *Inspector) Name(host string, s policy.Scan) Report {
	j := in.judge(s)
	j.look(inHost, []byte(host))
	labels := bytes.Split([]byte(host), []byte("."))
	j.joined(always(inLabels), labels, true)
	in.remember(j, "name", labels)
	return j.report()
}
