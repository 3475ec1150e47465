package wire

// Command is a program to run in the bottle, as the agent's user and under the agent's
// confinement, always.
type Command struct {
	Argv []string `json:"argv"` // Argv[0] is looked up in Env's PATH when it holds no slash
	Env  []string `json:"env"`  // "NAME=value"; complete, nothing is added
	Dir  string   `json:"dir"`  // absolute
	// TTY gives it a terminal of its own as stdin, stdout, stderr and controlling terminal.
	TTY  bool   `json:"tty,omitempty"`
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
}

// Exit tells how a command ended.
type Exit struct {
	Code   int    `json:"code"`             // as a shell would say it: 128+signal when killed
	Signal string `json:"signal,omitempty"` // "SIGKILL"; empty when it exited by itself
	// Error is set when it could not be started: no such program, not executable. Code is then
	// 127 or 126.
	Error string `json:"error,omitempty"`
}

// ProbeRequest asks cork for the launch self-test.
type ProbeRequest struct {
	// Nonce is answered by the egress engine's control host; seeing it proves a way works.
	Nonce string `json:"nonce"`
	// ControlHost is the name the engine answers itself, on every way.
	ControlHost string `json:"control_host"`
	// HostTCP are listeners on the host (loopback, LAN address, gateway) that answer HostNonce to
	// whoever connects. From inside none may be reached.
	HostTCP   []string `json:"host_tcp"`
	HostNonce string   `json:"host_nonce"`
	// Neighbours are further addresses of the host's network, "host:port", that nothing but the
	// egress engine may answer: its gateway, its resolvers.
	Neighbours []string `json:"neighbours,omitempty"`
	// Unlisted is a name that exists in public DNS and that the policy does not allow.
	Unlisted string `json:"unlisted"`
	// HostFiles are paths on the host that hold HostNonce, readable by the operator.
	HostFiles []string `json:"host_files"`
	// HostUnix are unix sockets on the host ("@name" is abstract) that answer HostNonce.
	HostUnix []string `json:"host_unix"`
	// Limits is true when memory, pids and cpu limits are meant to be in force.
	Limits bool `json:"limits,omitempty"`
	// Narrow is true in a bottle whose network is, as in Ways: there the kernel itself says that an
	// address can't be dialled.
	Narrow bool `json:"narrow,omitempty"`
	// PIDs is the highest limit on processes that may be in force; 0 means that any will do.
	PIDs int64 `json:"pids,omitempty"`
}

// ProbeResult is one probe's outcome.
type ProbeResult struct {
	Name string `json:"name"` // "direct-ip", "dns-udp", "metadata" ...
	// OK is true only when the attack failed as it should and the control, the benign twin that
	// proves the probe can see, succeeded.
	OK bool `json:"ok"`
	// Leak is true when the attack got through, or something but the seal answered it. Neither OK
	// nor Leak means that the probe could not prove anything.
	Leak    bool   `json:"leak,omitempty"`
	Attack  string `json:"attack"`  // what was tried and what came of it, in words
	Control string `json:"control"` // the same for the control
	Micros  int64  `json:"us"`
}
