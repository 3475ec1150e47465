package bottle

import "fmt"

// State is where a bottle is in its life. The zero State is Creating.
type State uint8

// The states, in the order a good life passes through them.
const (
	Creating State = iota // launch is at work: nothing of the agent has run
	Running               // self-test passed, the agent's program was started
	Stopping              // the agent ended or was told to; teardown is at work
	Stopped               // everything the bottle held is gone
	Failed                // it ended by an error of ours or of the host; the state folder tells which
)

var stateNames = [...]string{"creating", "running", "stopping", "stopped", "failed"}

// String returns the state's lower-case name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Ended reports whether no process of the bottle can be alive in s.
func (s State) Ended() bool { return s == Stopped || s == Failed }

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(b []byte) error {
	for i, n := range stateNames {
		if n == string(b) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("unknown bottle state %q", b)
}

// next lists the moves a bottle may make.
var next = map[State][]State{
	Creating: {Running, Stopping, Failed},
	Running:  {Stopping, Failed},
	Stopping: {Stopped, Failed},
}

// To returns to when a bottle in s may become it, else an error: an ended bottle never lives
// again, and nothing becomes Running but what was being created.
func (s State) To(to State) (State, error) {
	for _, ok := range next[s] {
		if ok == to {
			return to, nil
		}
	}
	return s, fmt.Errorf("a %s bottle can't become %s", s, to)
}
