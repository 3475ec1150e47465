//go:build linux

package guest

import (
	"context"
	"fmt"

	"github.com/claude-bottle/claude-bottle/internal/backend/meter"
	"github.com/claude-bottle/claude-bottle/internal/cork"
	"github.com/claude-bottle/claude-bottle/internal/cork/confine"
	"github.com/claude-bottle/claude-bottle/internal/cork/netjail"
	"github.com/claude-bottle/claude-bottle/internal/cork/probe"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Become lowers the limits of this process, which is root's, turns it into cork, and says what the
// agent will be, who may write to folders.
func (w Who) Become(c confine.Ceilings, folders []string) (Sealed, error) {
	if err := confine.Lower(c); err != nil {
		return Sealed{}, err
	}
	if err := confine.BecomeCork(w.Cork, w.Cork); err != nil {
		return Sealed{}, err
	}
	p := confine.Standard(uint32(w.UID), uint32(w.GID))
	p.PIDs = c.PIDs
	p.Writable = append(p.Writable, folders...)
	return Sealed{Policy: p, Report: Report{Landlock: confine.LandlockABI()}, Folders: folders}, nil
}

// With adds the ways out.
func (s Sealed) With(n netjail.Sockets) Sealed {
	s.Sockets, s.Report.Narrow, s.Report.Notes = n, n.Narrow, n.Notes
	return s
}

// Sealed is a bottle that stands around the calling process.
type Sealed struct {
	Policy  confine.Policy
	Sockets netjail.Sockets // taken over by Serve
	Report  Report
	// Meter bounds what the folders that the agent may write to take together, in bytes, where only
	// cork can see them; 0 leaves that to the holder.
	Meter int64
	// Folders are those folders.
	Folders []string
}

// Serve reports to the holder and is its cork until the wire ends.
func (l Line) Serve(s Sealed) error {
	if err := l.tell(s.Report, s.Sockets.Files()); err != nil {
		return fmt.Errorf("hand out the listeners: %w", err)
	}
	var ways wire.Ways
	if l.unix == nil { // elsewhere the holder has them by now
		var err error
		if ways, err = netjail.Ways(s.Sockets.Files()); err != nil {
			return err
		}
	}
	s.Sockets.Close()
	session := wire.NewSession(l.conn, wire.Cork)
	if l.unix == nil {
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = wire.ServeWays(context.Background(), session, ways.Proxy, ways.Any, ways.DNS) // it ends with the session, whose end is the reason
		}()
		defer func() { <-served }()
	}
	ctx, end := context.WithCancelCause(context.Background())
	metered := make(chan struct{})
	go func() {
		defer close(metered)
		if err := s.measure(ctx); err != nil {
			end(err)
		}
	}()
	defer func() { end(nil); <-metered }()
	return cork.Serve(ctx, session, cork.Config{
		Confine: func() error {
			_, err := confine.Apply(s.Policy)
			return err
		},
		Bound:   func() error { return confine.Bound(s.Policy) },
		Unbound: confine.Unbound,
		Probes:  probe.Parts(),
	})
}

// measure watches how much the agent's folders take, until ctx ends. It sees what anybody sees: the
// meter reckons with folders that were closed to it.
func (s Sealed) measure(ctx context.Context) error {
	if s.Meter == 0 {
		return nil
	}
	return meter.Watch(ctx, s.Folders, s.Meter)
}
