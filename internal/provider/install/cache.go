package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/provider"
	"golang.org/x/sys/unix"
)

// cached returns the installed program, installing it first when it isn't. Finding it is a look
// at one file's header: no lock, no process.
func cached(ctx context.Context, src provider.Source, want provider.Native, o Options) (Program, error) {
	// "@scope/name" becomes one folder name.
	name := strings.ReplaceAll(want.Package, "/", "+") + "@" + src.Version
	dir := filepath.Join(o.Cache, name)
	hit := func() (Program, bool) {
		root := filepath.Join(dir, "node_modules", filepath.FromSlash(want.Package))
		exe := filepath.Join(root, filepath.FromSlash(want.Program))
		if !native(exe) {
			return Program{}, false
		}
		p, err := show(src.Command, root, exe, src.Version)
		return p, err == nil
	}
	if p, ok := hit(); ok {
		return p, nil
	}
	if err := os.MkdirAll(o.Cache, 0o700); err != nil {
		return Program{}, fmt.Errorf("program cache: %w", err)
	}
	unlock, err := lock(ctx, dir+".lock", func() {
		o.Progress.Line(Step, "waiting for another launch that is installing "+src.Command)
	})
	if err != nil {
		return Program{}, fmt.Errorf("install %s: %w", src.Command, err)
	}
	defer unlock()
	if p, ok := hit(); ok { // the other launch did it
		return p, nil
	}
	if err := install(ctx, src, want, dir, o); err != nil {
		return Program{}, err
	}
	p, ok := hit()
	if !ok {
		return Program{}, fmt.Errorf("install %s: %s holds no %s after the install: remove that folder and try again", src.Command, dir, want.Program)
	}
	return p, nil
}

// install fills dir, which doesn't exist or is damaged: everything happens in a folder beside it
// that takes its name at the end, so that a crash leaves no half of a program behind.
func install(ctx context.Context, src provider.Source, want provider.Native, dir string, o Options) (err error) {
	tmp, err := os.MkdirTemp(o.Cache, ".installing-")
	if err != nil {
		return fmt.Errorf("install %s: %w", src.Command, err)
	}
	// After the rename there is nothing of that name any more.
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := npm(ctx, src, want, tmp, o); err != nil {
		return err
	}
	exe := filepath.Join(tmp, "node_modules", filepath.FromSlash(want.Package), filepath.FromSlash(want.Program))
	if !native(exe) {
		return &UnavailableError{Program: src.Command, Why: fmt.Sprintf("%s does not hold the executable %s for this machine", want.Spec, want.Program)}
	}
	// MkdirTemp's 0700 would shut out the bottle's user where that is not the operator's own.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("install %s: %w", src.Command, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("install %s: %w", src.Command, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("install %s: %w", src.Command, err)
	}
	return nil
}

// lock takes an exclusive lock on the file name, made when missing, and returns its release. It
// calls waiting once when somebody else holds it.
func lock(ctx context.Context, name string, waiting func()) (func(), error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	release := func() { _ = f.Close() } // the kernel drops the lock with the descriptor
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return release, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			release()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			release()
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
