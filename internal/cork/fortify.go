//go:build linux

package cork

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fortify makes this process one the agent can neither look into nor end, as far as that is in
// its own hands. The returned function gives the signals back.
func fortify() (release func(), err error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become untraceable: %w", err)
	}
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("keep open files from programs (needs Linux 5.11): %w", err)
	}
	unix.Umask(0o022)

	// The kernel drops signals for PID 1 that have no handler, but Go's runtime has one for nearly
	// all. Asking for a signal makes it hand that over instead; a channel nobody reads then drops it.
	dropped := make(chan os.Signal, 1)
	signal.Notify(dropped, deadly...)
	defaultLibrarySignals()
	if isInit() {
		ignoreFaults()
	}
	return func() { signal.Stop(dropped) }, nil
}

// deadly are the signals that end or stop a Go program which doesn't ask for them (see package
// os/signal), but for those of ignoreFaults; all others the runtime takes, and does nothing. It is a
// list because asking costs two switches between threads a signal, and there are 64.
var deadly = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGTERM,
	unix.SIGPIPE, // deadly where standard error is what broke
	unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
}

// sigIgn is SIG_IGN as the kernel writes it.
const sigIgn = 1

// defaultLibrarySignals gives the two signals that C libraries keep for themselves their default
// back where they were inherited as ignored: programs started by glibc's posix_spawn, as make
// starts them, are left that way, and the bottle's programs would inherit it.
func defaultLibrarySignals() {
	for _, sig := range []uintptr{32, 33} {
		// struct sigaction: four words, the handler first, on all architectures.
		var act [4]uintptr
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&act)), 8, 0, 0); errno == 0 && act[0] == sigIgn {
			act = [4]uintptr{}
			// The call fails for bad arguments only.
			_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
		}
	}
}

// ignoreFaults has the kernel drop the signals that Go's runtime takes for a crash of its own when
// they are queued (sigqueue) rather than sent (kill). A genuine fault still ends the process,
// since the kernel forces those; only its stack trace is lost, which is why this is done in a
// bottle alone. Programs started later get the default back: the runtime resets, in a new
// process, what it believes to have handlers for.
func ignoreFaults() {
	ignore := [4]uintptr{sigIgn}
	for _, sig := range []uintptr{
		uintptr(unix.SIGSEGV), uintptr(unix.SIGBUS), uintptr(unix.SIGFPE), uintptr(unix.SIGILL),
		uintptr(unix.SIGTRAP), uintptr(unix.SIGSYS), uintptr(unix.SIGSTKFLT),
	} {
		// The call fails for bad arguments only, and these are constant.
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&ignore)), 0, 8, 0, 0)
	}
}
