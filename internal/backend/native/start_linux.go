package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/jail"
	"github.com/claude-bottle/claude-bottle/internal/backend/native/cgroup"
	"github.com/claude-bottle/claude-bottle/internal/cork/netjail"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// patience bounds the making of a bottle. It takes milliseconds; a host that swaps takes longer.
const patience = 20 * time.Second

// start is a bottle being made.
type start struct {
	spec  backend.Spec
	jail  jail.Spec
	exe   *os.File
	owner identity
	group *cgroup.Group
	cork  *child
	undo  spawn.Cleanup
}

// Start implements backend.Backend.
func (b *Backend) Start(ctx context.Context, spec backend.Spec, progress func(string)) (_ backend.Bottle, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if why, fix := obstacle("/proc", os.Geteuid() == 0); why != "" {
		return nil, fmt.Errorf("%w: %s; %s", backend.ErrUnavailable, why, fix)
	}
	s := &start{spec: spec}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start bottle %s: %w", spec.ID, errors.Join(err, s.undo.Run()))
		}
	}()
	if s.jail, err = plan(spec); err != nil {
		return nil, err
	}
	s.owner = identityFor(spec.ID)
	if err := s.hold(); err != nil {
		return nil, err
	}
	if s.exe, err = os.Open(b.exe); err != nil {
		return nil, fmt.Errorf("open our own program: %w", err)
	}
	defer s.exe.Close() // only read
	if err := s.bound(); err != nil {
		return nil, err
	}
	if progress != nil {
		progress("new namespaces: " + strings.Join(namespaces(), ", "))
	}
	return s.raise(ctx)
}

// hold claims the ID for as long as this process lives.
func (s *start) hold() error {
	f, err := os.OpenFile(s.spec.Dir+"/native.lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // never used
		if errors.Is(err, unix.EWOULDBLOCK) {
			return backend.ErrExists
		}
		return fmt.Errorf("lock the state folder: %w", err)
	}
	s.undo.Add(func() error {
		// Not by closing alone: a process that is just being started elsewhere may have a copy.
		return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
	})
	return nil
}

// bound makes the control group.
func (s *start) bound() error {
	layout, err := cgroup.Find()
	if err != nil {
		return err
	}
	l := cgroup.Limits{Memory: s.spec.Limits.Memory, PIDs: s.spec.Limits.PIDs, CPUs: s.spec.Limits.CPUs}
	if by, _ := layout.By("pids"); by == "" {
		l.PIDs = 0 // the rlimit does it
	}
	s.group, err = layout.Create(s.spec.ID.String(), l)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: its control group has processes in it", backend.ErrExists)
	}
	if err != nil {
		return err
	}
	s.undo.Add(s.removeGroup)
	return nil
}

// groupPatience is how long the kernel may take to let go of a control group's last process.
const groupPatience = 5 * time.Second

func (s *start) removeGroup() error {
	ctx, cancel := context.WithTimeout(context.Background(), groupPatience)
	defer cancel()
	return s.group.Remove(ctx)
}

// raise starts cork and speaks with it until it is ready.
func (s *start) raise(ctx context.Context) (backend.Bottle, error) {
	trees := make(chan opened, 1)
	go func() { trees <- s.openMounts() }() // while cork is being started; raise waits for it
	var cork *child
	err := s.group.Enter(func(unified *os.File) (err error) {
		cork, err = s.spawn(unified)
		return err
	})
	if cork != nil {
		s.cork = cork
		s.undo.Add(cork.end)
	}
	mounts := <-trees
	defer closeAll(mounts.trees)
	if err = errors.Join(err, mounts.err); err != nil {
		return nil, err
	}
	if err := cork.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	// A ctx that ends moves the deadline into the past, which ends the exchange.
	stop := context.AfterFunc(ctx, func() { _ = cork.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r, sockets, err := s.exchange(mounts.trees)
	defer closeAll(sockets)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	if err := cork.conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return s.finish(r, sockets)
}

// exchange sends the setup and takes the report.
func (s *start) exchange(trees []*os.File) (r report, sockets []*os.File, err error) {
	blob, err := s.blob()
	if err != nil {
		return r, nil, err
	}
	defer blob.Close() // a memory file that was read
	conn := s.cork.conn
	err = wire.SendFiles(conn, setup{
		Jail: s.jail, Trees: len(trees),
		PIDs: uint64(max(s.spec.Limits.PIDs, 0)), Disk: uint64(max(s.spec.Limits.Disk, 0)),
	}, blob)
	if err == nil {
		err = sendTrees(conn, trees)
	}
	if err == nil {
		sockets, err = wire.RecvFiles(conn, &r)
	}
	if err != nil {
		return r, nil, s.cork.explain(err)
	}
	if r.Failed != "" {
		return r, sockets, fmt.Errorf("inside the bottle: %s", r.Failed)
	}
	return r, sockets, nil
}

// blob is the files' content in a memory file.
func (s *start) blob() (*os.File, error) {
	fd, err := unix.MemfdCreate("files", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "files")
	for _, file := range s.spec.Files {
		if _, err := f.Write(file.Data); err != nil {
			return nil, errors.Join(fmt.Errorf("memory file: %w", err), f.Close())
		}
	}
	return f, nil
}

// finish makes the bottle of what cork handed out.
func (s *start) finish(r report, sockets []*os.File) (backend.Bottle, error) {
	ways, err := netjail.Ways(sockets)
	if err != nil {
		return nil, err
	}
	b := &Bottle{
		Life: backend.NewLife(), cork: s.cork, group: s.group, limits: s.spec.Limits, cleanup: s.undo,
	}
	b.Session, b.Outlets, b.Seal = wire.NewSession(s.cork.conn, wire.Warden), ways, s.report(r)
	b.watch(writable(s.jail))
	return b, nil
}
