// Package progress carries what a launch is doing to whoever shows it. A launch has one Sink; the
// front end decides where its events go, and no library code writes to a terminal.
package progress

import "time"

// Event is one thing to show.
type Event struct {
	Time time.Time `json:"time"`
	// Step is the launch step at work: "program", "start", "provision", "selftest", "agent".
	Step string `json:"step"`
	// Line is one line of text, inert, without a line end.
	Line string `json:"line,omitempty"`
	// End is set on the last event of a launch.
	End *End `json:"end,omitempty"`
}

// End tells how a launch ended.
type End struct {
	OK bool `json:"ok"`
	// Error and Hint are for the operator, when not OK.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Refused tells a launch that policy or the self-test did not let go on from one that broke.
	Refused bool `json:"refused,omitempty"`
}

// Sink receives events in order. It must not block for long: the launch waits for it.
type Sink func(Event)

// Line reports one line under step; a nil Sink drops it.
func (s Sink) Line(step, line string) {
	if s != nil {
		s(Event{Time: time.Now(), Step: step, Line: line})
	}
}
