// Package audit keeps the record of what a bottle did and what was decided about it: typed
// events, appended as JSON lines, each carrying the hash of the one before, so that an edited,
// removed or reordered line is found by Verify. No event ever holds a credential.
package audit

import "time"

// Kind says what an Event is about.
type Kind string

// The kinds.
const (
	KindRequest   Kind = "request"   // one HTTP request and its verdict
	KindConnect   Kind = "connect"   // a connection that ended before any request: refused or not HTTP
	KindDNS       Kind = "dns"       // one name asked for
	KindLifecycle Kind = "lifecycle" // state changes, exits, signals
	KindSelfTest  Kind = "selftest"  // the launch self-test's result
	KindSession   Kind = "session"   // attach, detach, resize of a terminal
	KindDropped   Kind = "dropped"   // N events were folded into this one to bound a flood
)

// Via says by which of the bottle's ways out something came.
type Via string

// The ways.
const (
	ViaProxy       Via = "proxy"       // plain HTTP through the explicit proxy
	ViaConnect     Via = "connect"     // CONNECT through the explicit proxy
	ViaSOCKS       Via = "socks5"      // SOCKS5h on the explicit proxy's port
	ViaTransparent Via = "transparent" // a plain connection, caught by the any-IP listener
	ViaDNS         Via = "dns"
)

// Event is one audit line. Text in it that came from a bottle is inert: see the inert package.
type Event struct {
	V      int       `json:"v"`   // format version, 1
	Seq    uint64    `json:"seq"` // from 1, no gaps
	Time   time.Time `json:"time"`
	Bottle string    `json:"bottle"`
	Kind   Kind      `json:"kind"`
	Via    Via       `json:"via,omitempty"`

	Verdict string `json:"verdict,omitempty"` // "allow" or "deny"
	Rule    string `json:"rule,omitempty"`
	Why     string `json:"why,omitempty"`

	Host     string  `json:"host,omitempty"`
	Addr     string  `json:"addr,omitempty"` // the address dialled upstream, or the bare one asked for
	Port     uint16  `json:"port,omitempty"`
	Method   string  `json:"method,omitempty"`
	Path     string  `json:"path,omitempty"` // without the query; secrets cut out
	Status   int     `json:"status,omitempty"`
	BytesOut int64   `json:"bytes_out,omitempty"` // request body, bottle to upstream
	BytesIn  int64   `json:"bytes_in,omitempty"`  // response body, upstream to bottle
	Millis   float64 `json:"ms,omitempty"`

	// What a model's answer told of itself: see usage.Usage, whose bounds hold. On a WebSocket every
	// answer is an event of its own, without bytes, which its connection's event has.
	Model              string `json:"model,omitempty"`
	TokensIn           int64  `json:"tokens_in,omitempty"` // read anew; caches apart
	TokensCacheRead    int64  `json:"tokens_cache_read,omitempty"`
	TokensCacheWrite   int64  `json:"tokens_cache_write,omitempty"`
	TokensCacheWrite1h int64  `json:"tokens_cache_write_1h,omitempty"` // of TokensCacheWrite
	TokensOut          int64  `json:"tokens_out,omitempty"`
	TokensReasoning    int64  `json:"tokens_reasoning,omitempty"` // of TokensOut

	Count uint64 `json:"count,omitempty"` // KindDropped: how many were folded
	Text  string `json:"text,omitempty"`  // free words for lifecycle, session and self-test

	// Findings are what the scanner found in the exchange; what was done is in each.
	Findings []Finding `json:"findings,omitempty"`

	Prev string `json:"prev"` // SHA-256 of the line before, hex; 64 zeros on the first
}
