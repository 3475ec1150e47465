package audit

import "github.com/claude-bottle/claude-bottle/internal/inert"

// maxFindings bounds the findings of one event.
const maxFindings = 32

// Finding is something the scanner found in an exchange. It never holds the value found.
type Finding struct {
	// Kind is "known" (a secret of the bottle), "canary", "shape" (what looks like a credential),
	// "entropy", or of an answer "echo", "invisible" and "orders".
	Kind string `json:"kind"`
	// Name is the secret's name or the shape's rule.
	Name  string `json:"name,omitempty"`
	Where string `json:"where"`         // "the body", "the header field X-Token"
	Via   string `json:"via,omitempty"` // the disguise: "base64+hex"
	// Digest tells, within one bottle, whether two findings are of the same value: salted SHA-256, cut.
	Digest  string `json:"digest,omitempty"`
	Excerpt string `json:"excerpt,omitempty"` // redacted
	Action  string `json:"action"`            // "blocked", "redacted" or "warned"
}

// clean makes every text of f inert and bounded.
func (f *Finding) clean() {
	for _, t := range []*string{&f.Kind, &f.Name, &f.Where, &f.Via, &f.Digest, &f.Excerpt, &f.Action} {
		*t = inert.Text(*t, 160)
	}
}
