package spawn

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// OnOwnThread runs f, as the body of a goroutine, on a thread that ends with it: what f does to its
// thread (identity, confinement, control group) touches nothing else. The process's first thread
// never ends and stands for the process wherever the kernel asks whose it is, so f does not run
// there: that thread is kept occupied while another one does.
func OnOwnThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return // still locked: the thread ends here
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		OnOwnThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}
