//go:build linux

package probe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// kernelProbe tries system calls in the child. Its attacks must fail with one of the errors that
// mean "not for you", its controls must succeed.
type kernelProbe struct {
	name     string
	attacks  []*call
	controls []*call
	// denials are the errors that prove the seal; empty means EPERM, ENOSYS and EACCES.
	denials []error
}

// refusal are the errors of a filter, a missing call and a missing permission. Any other error
// says that the kernel went to work on the arguments: the call was open to the agent.
var refusal = []error{unix.EPERM, unix.ENOSYS, unix.EACCES}

// kernelProbes runs the probes' calls, in one child if all goes as it should.
func kernelProbes(*scene) []wire.ProbeResult {
	began := time.Now()
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(null) // the null device
	} // else it is -1, and the control that needs it says so
	probes := kernelTable(uintptr(null))
	// Everything in one go and in this order: calls that change the child if they succeed stand
	// last, so that one leak does not colour the others.
	var calls []*call
	for i := range probes {
		calls = append(calls, probes[i].controls...)
		calls = append(calls, probes[i].attacks...)
	}
	err = tryAll(calls)
	share := time.Since(began) / time.Duration(len(probes))
	results := make([]wire.ProbeResult, len(probes))
	for i, p := range probes {
		attack, control := p.judge(err)
		results[i] = result(p.name, attack, control, share)
	}
	return results
}

func (p *kernelProbe) judge(cause error) (attack, control finding) {
	denials := p.denials
	if denials == nil {
		denials = refusal
	}
	var attacks, controls []finding
	for _, c := range p.attacks {
		attacks = append(attacks, c.denied(denials, cause))
	}
	for _, c := range p.controls {
		controls = append(controls, c.succeeded(cause))
	}
	attack, control = worst(attacks), worst(controls)
	if attack.ok && len(attacks) > 1 {
		attack.text = fmt.Sprintf("%s, and %d more alike", attack.text, len(attacks)-1)
	}
	return attack, control
}

func (c *call) denied(denials []error, cause error) finding {
	switch {
	case !c.tried && cause != nil:
		return unclear(c.what + ": not tried: " + errText(cause))
	case !c.tried:
		return unclear(c.what + ": not tried")
	case c.killed:
		return stopped(c.what + ": killed by the filter")
	case c.err() == nil:
		return leaked(c.what + ": allowed")
	case slices.ContainsFunc(denials, func(e error) bool { return errors.Is(c.err(), e) }):
		return stopped(c.what + ": " + errText(c.err()))
	}
	switch {
	case errors.Is(c.err(), unix.EMFILE), errors.Is(c.err(), unix.ENFILE), errors.Is(c.err(), unix.ENOMEM), errors.Is(c.err(), unix.EAGAIN), errors.Is(c.err(), unix.EINTR):
		return unclear(c.what + ": " + errText(c.err()))
	}
	return leaked(c.what + ": the kernel went to work on it (" + errText(c.err()) + ")")
}

func (c *call) succeeded(cause error) finding {
	switch {
	case !c.tried && cause != nil:
		return unclear(c.what + ": not tried: " + errText(cause))
	case !c.tried || c.killed:
		return unclear(c.what + ": not done")
	case c.err() != nil:
		return unclear(c.what + ": " + errText(c.err()))
	}
	return works(c.what + " works")
}

// sys makes a call without pointers.
func sys(what string, nr uintptr, args ...uintptr) *call {
	c := &call{what: what, nr: nr}
	copy(c.args[:], args)
	return c
}

// minus is a negative number as a register holds it.
func minus(n int) uintptr { return uintptr(-n) }

// text makes a C string that c keeps alive.
func (c *call) text(s string) uintptr {
	b := append([]byte(s), 0)
	c.keep = append(c.keep, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// room makes zeroed memory of n bytes that c keeps alive.
func (c *call) room(n int) ([]byte, uintptr) {
	b := make([]byte, n)
	c.keep = append(c.keep, b)
	return b, uintptr(unsafe.Pointer(&b[0]))
}

// openat is open(path, flags) as a call.
func openat(path string, flags uintptr) *call {
	c := &call{what: "open " + path, nr: unix.SYS_OPENAT}
	c.args = [6]uintptr{minus(100), c.text(path), flags | unix.O_CLOEXEC | unix.O_NONBLOCK}
	return c
}

// readlinkat is readlink(path) as a call.
func readlinkat(path string) *call {
	c := &call{what: "readlink " + path, nr: unix.SYS_READLINKAT}
	_, buf := c.room(256)
	c.args = [6]uintptr{minus(100), c.text(path), buf, 256}
	return c
}

// targets are the processes a prober aims at: PID 1, and cork should it be another.
func targets() []int {
	if pid := os.Getpid(); pid != 1 {
		return []int{1, pid}
	}
	return []int{1}
}
