// Package secret holds credential values so that they can't be printed by accident: every way Go
// has of turning a Value into text yields "[redacted]", and the one way to the bytes is a method
// whose callers are easily listed (grep Reveal).
package secret

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Value is a credential. The zero Value is empty. Copying it copies a reference to the same bytes.
type Value struct{ v string }

// New wraps s.
func New(s string) Value { return Value{s} }

// Reveal returns the credential itself. Its callers are the places where it meets the wire to its
// upstream, the pipe that hands it to the warden, and the scanner that looks for it.
func (v Value) Reveal() string { return v.v }

// Empty reports whether there is no credential.
func (v Value) Empty() bool { return v.v == "" }

// String returns "[redacted]".
func (v Value) String() string { return redacted }

// GoString returns "[redacted]".
func (v Value) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) } // fmt.State keeps its own errors

// MarshalText returns "[redacted]"; encoding/json uses it too.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }
