package warden

import (
	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Status is what a warden says of its bottle.
type Status struct {
	Metadata state.Metadata `json:"metadata"`
	// Report is the evidence of the seal; empty until the backend has started the bottle.
	Report backend.Report `json:"report"`
	// SelfTest is the launch self-test's result; empty until it has run.
	SelfTest       []wire.ProbeResult `json:"selftest,omitempty"`
	SelfTestMillis float64            `json:"selftest_ms,omitempty"`
	// Attached is the number of terminals attached now.
	Attached int    `json:"attached"`
	Egress   Egress `json:"egress"`
}

// Egress counts what the bottle did through its ways out.
type Egress struct {
	Allowed  uint64 `json:"allowed"` // requests and connections
	Denied   uint64 `json:"denied"`
	BytesOut int64  `json:"bytes_out"` // bottle to upstream
	BytesIn  int64  `json:"bytes_in"`
}

// Screen is what a session's terminal shows.
type Screen struct {
	Lines []string `json:"lines"` // inert
}

// StopRequest asks a warden to end its bottle.
type StopRequest struct {
	// Reason is for the audit record and the agent's epitaph: "stopped by the operator".
	Reason string `json:"reason"`
	// GraceMillis is how long the agent has to end by itself before it is killed.
	GraceMillis int64 `json:"grace_ms"`
}

// SignalRequest asks a warden to signal the agent.
type SignalRequest struct {
	Signal string `json:"signal"` // "SIGINT"
}

// Fault is the body of every answer that is not a success.
type Fault struct {
	Error string `json:"error"`
}

// AttachProtocol is the protocol name that attach upgrades to: frames of the wire package, both
// ways.
const AttachProtocol = "claude-bottle-attach"
