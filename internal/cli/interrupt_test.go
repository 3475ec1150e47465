package cli

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// An interrupt that comes as the work ends, when nobody looks at the context any more, is not lost. Not
// parallel: signals are the whole process's.
func TestALateInterruptCounts(t *testing.T) {
	seen := make(chan os.Signal, 1)
	signal.Notify(seen, syscall.SIGHUP)
	defer signal.Stop(seen)
	for range 500 {
		_, release := interruptible(t.Context())
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		<-seen
		if !release() {
			t.Fatal("the interrupt was lost")
		}
		if _, release := interruptible(t.Context()); release() {
			t.Fatal("there was no interrupt")
		}
	}
}
