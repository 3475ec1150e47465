package spawn

import (
	"runtime/debug"
	"time"
)

// settleAfter is when a process that will mostly wait gives back what its start took.
const settleAfter = 2 * time.Second

// Settle has a process that goes on to wait give memory back to the kernel once its start is over:
// the heap of a start is several times that of the waiting, and nothing else would make it shrink
// for minutes. The returned function calls it off.
func Settle() (cancel func()) {
	t := time.AfterFunc(settleAfter, func() {
		debug.FreeOSMemory()
		letGo()
	})
	return func() { t.Stop() }
}
