package wire

import (
	"errors"
	"net"
	"testing"
)

// Whoever reads from what the wire carries tells an end by net.ErrClosed, as with any socket.
func TestClosedHereIsAClosedSocketToReaders(t *testing.T) {
	t.Parallel()
	if !errors.Is(ErrClosed, net.ErrClosed) || !errors.Is(ErrClosed, ErrClosed) || errors.Is(ErrGone, net.ErrClosed) {
		t.Error("ErrClosed is not net.ErrClosed, or ErrGone is")
	}
}
