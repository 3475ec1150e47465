//go:build linux

// Package probe is the half of the launch self-test that runs inside the bottle. It tries what the
// seal promises to stop, from a thread that is confined exactly as the agent will be, and pairs
// every attack with a benign twin, so that a probe which would fail for any reason at all (no
// socket, no route, a dead engine) proves nothing and is reported as such.
//
// Everything happens on the calling goroutine: another one would run on a thread that is not
// confined. Network attempts are non-blocking and share one poll loop; system calls that would
// change the caller if they succeeded are tried in a forked child, which has the caller's
// confinement and a process of its own.
package probe

import (
	"time"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// patience bounds all network attempts together. A sealed bottle answers in milliseconds; the
// bound is wide because a busy host is no leak.
const patience = 5 * time.Second

// Parts are the two halves of the self-test, to be run at the same time: while the engine thinks
// about what one half asked it, the other tries the kernel. Each is called on a goroutine of its
// own that is locked to a thread confined for good; it starts no goroutine and leaves no file,
// socket or process behind. The results of the first, then those of the second, are the report.
func Parts() []func(wire.ProbeRequest) []wire.ProbeResult {
	return []func(wire.ProbeRequest) []wire.ProbeResult{network, local}
}

// network tries the ways out.
func network(req wire.ProbeRequest) []wire.ProbeResult {
	s := newScene(req)
	probes := networkProbes(s)
	s.converse(probes, time.Now().Add(patience))
	results := make([]wire.ProbeResult, 0, len(probes))
	for _, p := range probes {
		results = append(results, p.result())
	}
	return results
}

// local tries everything that needs no answer from outside.
func local(req wire.ProbeRequest) []wire.ProbeResult {
	s := newScene(req)
	kernel := kernelProbes(s)
	results := make([]wire.ProbeResult, 0, len(localProbes)+len(kernel))
	for _, p := range localProbes {
		began := time.Now()
		attack, control := p.try(s)
		results = append(results, result(p.name, attack, control, time.Since(began)))
	}
	return append(results, kernel...)
}

// finding is what came of one side of a probe, in words.
type finding struct {
	ok   bool
	leak bool // only of attacks: something got through
	text string
}

func stopped(text string) finding { return finding{ok: true, text: text} }
func works(text string) finding   { return finding{ok: true, text: text} }
func leaked(text string) finding  { return finding{leak: true, text: text} }
func unclear(text string) finding { return finding{text: text} }

// worst returns the finding that decides: a leak before an unclear one before a good one. The text
// of a good outcome names them all by their number.
func worst(all []finding) finding {
	if len(all) == 0 {
		return unclear("nothing was tried")
	}
	w := all[0]
	for _, f := range all[1:] {
		if f.leak && !w.leak || !f.ok && w.ok {
			w = f
		}
	}
	return w
}

// result makes the record of one probe.
func result(name string, attack, control finding, took time.Duration) wire.ProbeResult {
	return wire.ProbeResult{
		Name:    name,
		OK:      attack.ok && control.ok,
		Leak:    attack.leak,
		Attack:  attack.text,
		Control: control.text,
		Micros:  took.Microseconds(),
	}
}

// localProbe is a probe that asks the kernel and the file system from the calling thread.
type localProbe struct {
	name string
	try  func(*scene) (attack, control finding)
}

// localProbes stand in the order of the report.
var localProbes = [...]localProbe{
	{"interfaces", interfaces},
	{"icmp-socket", icmpSocket},
	{"raw-socket", rawSocket},
	{"packet-socket", packetSocket},
	{"vsock-socket", vsockSocket},
	{"kernel-socket", kernelSocket},
	{"netlink-socket", netlinkSocket},
	{"engine-sockets", engineSockets},
	{"host-unix", hostUnix},
	{"abstract-sockets", abstractSockets},
	{"host-files", hostFiles},
	{"host-processes", hostProcesses},
	{"root-readonly", rootReadonly},
	{"proc-sys", procSys},
	{"proc-masked", procMasked},
	{"sys-readonly", sysReadonly},
	{"devices", devices},
	{"identity", identity},
	{"capabilities", capabilities},
	{"no-new-privs", noNewPrivs},
	{"seccomp", seccompMode},
	{"limits", limits},
}
