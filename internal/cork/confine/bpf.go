//go:build linux

package confine

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// program assembles a classic BPF filter over struct seccomp_data. Conditional jumps skip forward
// over the instructions that end a check, so every check reads on its own:
//
//	p.unless(eq, 41, func() { p.ret(denied) }) // "when the value is 41, deny"
//
// No check is longer than the 255 instructions a jump can skip; assemble refuses one that is.
type program struct {
	code []unix.SockFilter
	err  error
}

// Offsets in struct seccomp_data.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// Tests of a value against the loaded word.
const (
	eq  = unix.BPF_JEQ
	gt  = unix.BPF_JGT
	ge  = unix.BPF_JGE
	set = unix.BPF_JSET
)

// load loads the 32-bit word at off.
func (p *program) load(off uint32) {
	p.code = append(p.code, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off})
}

// loadLow loads the low half of argument n. The kernel reads most arguments as 32-bit values and
// ignores the high half, so the low half is what must be compared: a check of all 64 bits is
// passed by setting a high one. Both architectures are little endian.
func (p *program) loadLow(n uint32) { p.load(offArgs + 8*n) }

// loadHigh loads the high half of argument n, for arguments that are pointers.
func (p *program) loadHigh(n uint32) { p.load(offArgs + 8*n + 4) }

// and masks the loaded word.
func (p *program) and(mask uint32) {
	p.code = append(p.code, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask})
}

// ret ends with action.
func (p *program) ret(action uint32) {
	p.code = append(p.code, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action})
}

// when runs then if the test of the loaded word against k holds, else skips it.
func (p *program) when(test uint16, k uint32, then func()) { p.branch(test, k, then, false) }

// unless runs then if the test of the loaded word against k fails, else skips it.
func (p *program) unless(test uint16, k uint32, then func()) { p.branch(test, k, then, true) }

func (p *program) branch(test uint16, k uint32, then func(), not bool) {
	at := len(p.code)
	p.code = append(p.code, unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k})
	then()
	n := len(p.code) - at - 1
	if n > 255 && p.err == nil {
		p.err = fmt.Errorf("a check of %d instructions is too long to jump over", n)
	}
	if not {
		p.code[at].Jt = uint8(n)
	} else {
		p.code[at].Jf = uint8(n)
	}
}

// install puts the filter on the calling thread only.
func (p *program) install() error {
	if p.err != nil {
		return p.err
	}
	prog := unix.SockFprog{Len: uint16(len(p.code)), Filter: &p.code[0]}
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	return nil
}
