//go:build linux

package spawn

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// More threads are wanted at once than there are, so that the first one is asked too.
func TestFirstThreadIsNeverConfined(t *testing.T) {
	const n = 64
	var all, met sync.WaitGroup
	met.Add(n)
	for range n {
		all.Go(func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				OnOwnThread(func() {
					if unix.Gettid() == unix.Getpid() {
						t.Error("the process's first thread was given away")
					}
					met.Done()
					met.Wait()
				})
			}()
			<-done
		})
	}
	all.Wait()
}
