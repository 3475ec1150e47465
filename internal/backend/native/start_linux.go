package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/native/cgroup"
	"github.com/claude-bottle/claude-bottle/internal/backend/native/idmap"
	"github.com/claude-bottle/claude-bottle/internal/backend/native/jail"
	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
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
	if f := Facts(); !f.Ready {
		return nil, fmt.Errorf("%w: %s; %s", backend.ErrUnavailable, f.Why, f.Fix)
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
	s.owner = identityFor(spec.ID.String())
	if err := s.hold(); err != nil {
		return nil, err
	}
	if s.exe, err = os.Open(b.exe); err != nil {
		return nil, fmt.Errorf("open our own program: %w", err)
	}
	defer s.exe.Close() //nolint:errcheck // only read
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
	// A ctx that ends closes the socket, which ends the exchange; so does the deadline.
	stop := context.AfterFunc(ctx, func() { _ = cork.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := cork.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
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
	defer blob.Close() //nolint:errcheck // a memory file that was read
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

// opened is what openMounts comes back with.
type opened struct {
	trees []*os.File
	err   error
}

// openMounts opens the mounts when the holder is root: the paths may lie in folders nobody else
// enters, and writable ones must show root's files as the agent's. An ordinary user's cork does
// all that itself, as that user.
func (s *start) openMounts() (o opened) {
	if !s.owner.root {
		return o
	}
	users := map[[2]int]*os.File{}
	defer func() {
		for _, f := range users {
			_ = f.Close() // the mounts hold on to the namespace
		}
	}()
	for i := range s.jail.Mounts {
		m := &s.jail.Mounts[i]
		attrs := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		var ns *os.File
		if m.Writable {
			var err error
			if ns, err = s.usersFor(m.Source, users); err != nil {
				return opened{o.trees, err}
			}
		} else {
			attrs |= unix.MOUNT_ATTR_RDONLY
		}
		tree, err := idmap.Clone(m.Source, attrs, ns)
		if err != nil {
			return opened{o.trees, err}
		}
		m.Passed = true
		o.trees = append(o.trees, tree)
	}
	return o
}

// usersFor returns the namespace that shows the owner of path as the agent.
func (s *start) usersFor(path string, known map[[2]int]*os.File) (*os.File, error) {
	uid, gid, err := idmap.Owner(path)
	if err != nil {
		return nil, err
	}
	key := [2]int{uid, gid}
	if f := known[key]; f != nil {
		return f, nil
	}
	f, err := idmap.Users(s.exe, uid, gid, s.owner.agentUID, s.owner.agentGID)
	if err == nil {
		known[key] = f
	}
	return f, err
}

// finish makes the bottle of what cork handed out.
func (s *start) finish(r report, sockets []*os.File) (backend.Bottle, error) {
	ways, err := waysOf(sockets)
	if err != nil {
		return nil, err
	}
	b := &Bottle{
		ways: ways, cork: s.cork, group: s.group, limits: s.spec.Limits,
		report: s.report(r), done: make(chan struct{}), stopping: make(chan struct{}),
		cleanup: s.undo,
	}
	b.session = wire.NewSession(s.cork.conn, wire.Warden)
	b.watch(writable(s.jail))
	return b, nil
}

func writable(j jail.Spec) []string {
	var out []string
	for _, m := range j.Mounts {
		if m.Writable {
			out = append(out, m.Source)
		}
	}
	return out
}

// child is cork as its holder sees it.
type child struct {
	process *os.Process
	conn    *net.UnixConn
	stderr  *tail
	exited  chan struct{} // closed when it was reaped
}

// spawn starts cork in its namespaces, and in the control group whose open folder is unified.
func (s *start) spawn(unified *os.File) (_ *child, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "wire"), os.NewFile(uintptr(pair[1]), "cork's wire")
	defer theirs.Close() //nolint:errcheck // cork has its own copy
	conn, err := net.FileConn(ours)
	_ = ours.Close() // conn has its own copy
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer null.Close() //nolint:errcheck // cork has its own copy
	stderr, words, err := newTail()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer words.Close() //nolint:errcheck // cork has its own copy

	attr := &os.ProcAttr{
		Dir:   "/",
		Env:   append([]string{}, leak.Env()...), // never nil, which would be ours
		Files: []*os.File{null, null, words, theirs, s.exe},
		Sys:   s.owner.attributes(),
	}
	if unified != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(unified.Fd())
	}
	// By its descriptor: the path may lead through folders only the host's root may enter.
	p, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", exeFD), []string{"claude-bottle", backend.CorkCommand}, attr)
	if err != nil {
		_ = words.Close() // so that the reader ends
		stderr.wait()
		return nil, errors.Join(fmt.Errorf("start cork in new namespaces: %w", err), conn.Close())
	}
	c := &child{process: p, conn: conn.(*net.UnixConn), stderr: stderr, exited: make(chan struct{})}
	go func() { // ends with the process; end and Bottle.watch wait for it
		defer close(c.exited)
		_, _ = p.Wait() // how it ended is told by its words
	}()
	return c, nil
}

// end kills cork, and with it, by the kernel's rule for process 1, everything in the bottle, and
// waits until it is gone.
func (c *child) end() error {
	_ = c.conn.Close() // it may be the session's, and closed
	_ = c.process.Kill()
	<-c.exited
	c.stderr.wait()
	return nil
}

// explain adds cork's last words to an error of talking to it.
func (c *child) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("cork did not get ready within %v: %w", patience, err)
	}
	_ = c.end() // it is over with; the undo stack does the same
	if words := c.stderr.last(); words != "" {
		return fmt.Errorf("cork ended: %s", words)
	}
	return fmt.Errorf("cork ended without a word: %w", err)
}
