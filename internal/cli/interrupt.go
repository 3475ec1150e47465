package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

var errInterrupted = errors.New("interrupted")

// interruptible returns a context that Ctrl-C and a closing terminal end. Release must be called; it
// reports whether one of them came, as it may when the work is done already.
func interruptible(ctx context.Context) (_ context.Context, release func() (interrupted bool)) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-stop:
			select {
			case <-signals:
				cancel(errInterrupted)
			default:
			}
		}
	}()
	return ctx, func() bool {
		signal.Stop(signals)
		close(stop)
		<-done
		defer cancel(nil)
		return errors.Is(context.Cause(ctx), errInterrupted)
	}
}
