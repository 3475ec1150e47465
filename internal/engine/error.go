package engine

import (
	"errors"
	"fmt"
)

// ErrUnavailable is wrapped by every Error: the engine can't be used as things are, and the text
// and its hint say what to do about it.
var ErrUnavailable = errors.New("container engine can't be used")

// Reason is the kind of an Error.
type Reason string

// The reasons why an engine can't be used.
const (
	BadSetting Reason = "bad setting"   // a variable, a context or a file of docker's configuration
	NotRunning Reason = "not running"   // nothing listens there
	NoAnswer   Reason = "no answer"     // it took longer than we wait
	Denied     Reason = "denied"        // the socket is closed to this user
	TLSFailed  Reason = "TLS failed"    // either side does not trust the other
	SSHFailed  Reason = "ssh failed"    // ssh, or docker at its other end
	TooOld     Reason = "too old"       // the API is older than we speak
	NotLinux   Reason = "not Linux"     // it runs containers of another system
	NotEngine  Reason = "not an engine" // something answers, but not as a container engine does
)

// Error says why an engine can't be used. Texts from elsewhere in it have been made inert.
type Error struct {
	Reason Reason
	Where  Where // zero where the engine could not even be named
	text   string
	hint   string
}

// Error says what happened and where.
func (e *Error) Error() string {
	if e.Where.Host == "" {
		return "container engine: " + e.text
	}
	return fmt.Sprintf("container engine at %s: %s", e.Where, e.text)
}

// Hint says what to type next.
func (e *Error) Hint() string { return e.hint }

// Unwrap returns ErrUnavailable alone: which system call failed is no part of the contract, and
// the API client replaces errors in which it recognizes one by words of its own.
func (e *Error) Unwrap() error { return ErrUnavailable }
