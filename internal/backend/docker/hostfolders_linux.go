package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/mount"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/guest"
	"github.com/claude-bottle/claude-bottle/internal/backend/meter"
	"github.com/claude-bottle/claude-bottle/internal/cork/netjail"
	"github.com/claude-bottle/claude-bottle/internal/engine"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// The parts of our folder on the host.
const (
	sealDir  = "seal"  // what the container shows as ownDir
	filesDir = "files" // the bottle's own files, by number
)

// hostFolders are folders of this host, shown in the container. cork and the bottle's files are
// shown alike.
type hostFolders struct {
	shown
	exe string
	who identity
}

// arrange lays out the bottle's folders.
func (s *start) arrange(ctx context.Context) (folders, error) {
	if !s.who.shared {
		return s.carry(ctx)
	}
	mounts := slices.Clone(s.spec.Mounts)
	if err := os.Mkdir(filepath.Join(s.own, filesDir), 0o711); err != nil {
		return nil, err
	}
	for i, f := range s.files() {
		path := filepath.Join(s.own, filesDir, strconv.Itoa(i))
		if err := errors.Join(os.WriteFile(path, f.Data, f.Mode.Perm()), os.Chmod(path, f.Mode.Perm())); err != nil {
			return nil, err
		}
		mounts = append(mounts, backend.Mount{Source: path, Target: f.Path})
	}
	lendFrom := ""
	if s.who.lent {
		lendFrom = s.own
	}
	for _, m := range mounts {
		if s.info.Kind == engine.Podman && strings.Contains(m.Source+m.Target, ",") {
			return nil, fmt.Errorf("mount %s: Podman can't mount a path with a comma in it; rename the folder", m.Source)
		}
	}
	out, err := show(mounts, lendFrom)
	if err != nil {
		return nil, err
	}
	if err := s.seal(); err != nil {
		return nil, err
	}
	out.mounts = append(out.mounts, bind(filepath.Join(s.own, sealDir), ownDir, false), bind(s.cork, corkPath, false))
	s.undo.Add(func() error { return takeBack(out.places()) })
	return &hostFolders{out, s.backend.exe, s.who}, nil
}

// seal makes the folder that the container shows, with the place for cork in it.
func (s *start) seal() error {
	dir := filepath.Join(s.own, sealDir)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, filepath.Base(corkPath)), nil, 0o600)
}

func (f *hostFolders) mounts() []mount.Mount { return f.shown.mounts }

func (f *hostFolders) label(labels map[string]string) error {
	if len(f.lent) == 0 {
		return nil
	}
	text, err := json.Marshal(f.places())
	labels[labelLent] = string(text)
	return err
}

func (f *hostFolders) fill(context.Context) error { return f.lend(f.exe, f.who) }

func (f *hostFolders) settle(context.Context) error { return takeBack(f.places()) }

// listen opens the socket cork is to come to. Who may open it is decided by the bottle's folder,
// which is the operator's alone; in the container it is root, without the right to pass over modes.
func (s *start) listen() (err error) {
	dir := filepath.Join(s.own, sealDir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, filepath.Base(wirePath))
	if s.listener, err = state.ListenSocket(path); err != nil {
		return fmt.Errorf("socket for the wire: %w", err)
	}
	s.undo.Add(func() error {
		_ = s.listener.Close() // closed once cork came
		return nil
	})
	return os.Chmod(path, 0o666)
}

// meetSocket waits for cork at the socket, and takes the ways out with its report.
func (s *start) meetSocket(ctx context.Context, b *Bottle) (r guest.Report, err error) {
	words := make(chan struct{})
	go func() { // ends with the container or the attached stream; the undo stack closes that
		defer close(words)
		_, _ = s.attached.Read(make([]byte, 1)) // nothing is ever written there: it returns at the end
		_ = s.listener.Close()                  // who has not come by now never will
	}()
	s.undo.Add(func() error { <-words; return nil })
	s.undo.Add(func() error { _ = s.attached.Close(); return nil })
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	if err := s.listener.SetDeadline(time.Now().Add(patience)); err != nil {
		return r, err
	}
	conn, err := s.listener.AcceptUnix()
	if err != nil {
		return r, err
	}
	// The socket has served: nobody else may find it, the agent least of all.
	_ = s.listener.Close() // nothing can be lost
	if err := os.Remove(filepath.Join(s.own, sealDir, filepath.Base(wirePath))); err != nil {
		return r, errors.Join(err, conn.Close())
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return r, errors.Join(err, conn.Close())
	}
	sockets, err := wire.RecvFiles(conn, &r)
	defer func() {
		for _, f := range sockets {
			_ = f.Close() // the listeners made of them have their own
		}
	}()
	if err != nil || r.Failed != "" {
		return r, errors.Join(err, conn.Close())
	}
	if err = conn.SetDeadline(time.Time{}); err == nil {
		b.Outlets, err = netjail.Ways(sockets)
	}
	if err != nil {
		return r, errors.Join(err, conn.Close())
	}
	b.Outlets.Narrow = r.Narrow
	b.Session = wire.NewSession(conn, wire.Warden)
	return r, nil
}

// watchDisk is the meter of the folders the agent writes in.
func watchDisk(ctx context.Context, mounts []backend.Mount, limit int64) error {
	return meter.Watch(ctx, writable(mounts), limit)
}
