package smolmachines

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/carry"
	"github.com/claude-bottle/claude-bottle/internal/backend/guest"
	"github.com/claude-bottle/claude-bottle/internal/backend/jail"
	"github.com/claude-bottle/claude-bottle/internal/smolvm"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// Bounds of a start once the machine is made.
const (
	runningPatience = 10 * time.Second // until smolvm says that it runs
	corkPatience    = time.Minute
)

// What a machine takes where the bottle sets no limit, which is smolvm's default too, and its disk beside
// the bottle's own folders.
const (
	defaultCPUs    = 4
	defaultMemory  = 8192 // MiB
	leastMemory    = 64   // MiB
	systemStorage  = 20   // GiB
	maxSocketBytes = 100  // a path that any kernel takes for a socket's
)

// start is a bottle being made.
type start struct {
	backend  *Backend
	spec     backend.Spec
	tool     smolvm.Tool
	version  string // of smolvm
	arch     string
	cork     string   // the path of our program as a machine can run it
	env      []string // of the image
	packedAt string   // the artifact
	machine  smolvm.Machine
	claim    *claim
	record   record
	setup    setup
	made     bool // there may be a machine
	kept     bool // something of the agent's could not be brought home
	exec     *running
	undo     spawn.Cleanup
	say      func(string)
	bySocket bool // how the wire goes
}

// Start implements backend.Backend.
func (b *Backend) Start(ctx context.Context, spec backend.Spec, progress func(string)) (_ backend.Bottle, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s := &start{backend: b, spec: spec, arch: runtime.GOARCH}
	s.say = progress
	if progress == nil {
		s.say = func(string) {}
	}
	defer func() {
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx) // not what its end did to the step it came upon
			}
			err = fmt.Errorf("start bottle %s: %w", spec.ID, errors.Join(err, s.undo.Run()))
		}
	}()
	if err := spec.Check(); err != nil {
		return nil, err
	}
	for _, m := range spec.Mounts {
		if st, err := os.Stat(m.Source); err != nil || m.Writable && !st.IsDir() {
			return nil, fmt.Errorf("mount %s: only folders can be written to in a machine (%v)", m.Source, err)
		}
	}
	if s.tool, s.version, err = b.tool(ctx); err != nil {
		return nil, err
	}
	if s.cork, err = backend.CorkFor(b.exe, s.arch); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{s.hold, s.artifact, s.listen, s.create, s.boot, s.fill} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return s.meet(ctx)
}

// hold claims the bottle's id for as long as this process lives.
func (s *start) hold(ctx context.Context) (err error) {
	s.claim, err = take(s.tool.Data, s.spec.ID)
	if errors.Is(err, errHeld) {
		return fmt.Errorf("%w: %w", backend.ErrExists, err)
	}
	if err != nil {
		return err
	}
	s.undo.Add(func() error {
		if s.kept {
			s.claim.release()
			return nil
		}
		return s.claim.drop()
	})
	_, err = s.tool.Status(ctx, machineName(s.spec.ID))
	switch {
	case err == nil:
		s.kept = true // it is not ours to give up
		return fmt.Errorf("%w: there is a machine of it; \"claude-bottle cleanup\" removes what a crash left", backend.ErrExists)
	case !errors.Is(err, smolvm.ErrNoMachine):
		return err
	}
	for _, m := range s.spec.Mounts {
		f := carry.Folder{Target: m.Target} // not one to be brought home
		if m.Writable {
			f.Source = m.Source
		}
		s.record.Carried = append(s.record.Carried, f)
	}
	return s.claim.write(s.record)
}

// listen makes the socket that the machine shows to cork.
func (s *start) listen(context.Context) error {
	dir := filepath.Join(s.tool.Data, "run")
	// Root's machines run as somebody else, who must get through to the socket. Nobody can look for
	// it, and the first who comes is the only one.
	dirMode, mode := os.FileMode(0o700), os.FileMode(0o600)
	if os.Geteuid() == 0 {
		dirMode, mode = 0o711, 0o666
	}
	if err := errors.Join(os.MkdirAll(dir, dirMode), os.Chmod(dir, dirMode)); err != nil {
		return fmt.Errorf("socket of the wire: %w", err)
	}
	var name [8]byte
	_, _ = rand.Read(name[:]) // never fails
	path := filepath.Join(dir, hex.EncodeToString(name[:]))
	if s.backend.stdio || len(path) > maxSocketBytes || strings.Contains(path, ":") {
		return nil
	}
	s.record.Socket = path
	s.undo.Add(func() error { return removeSocket(path) })
	if err := s.claim.write(s.record); err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("socket of the wire: %w", err)
	}
	s.exec = &running{listener: l}
	s.undo.Add(func() error {
		_ = l.Close() // it may have served
		return nil
	})
	s.machine.Socket, s.machine.GuestSocket = path, wirePath
	return os.Chmod(path, mode)
}

func removeSocket(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// create makes the machine.
func (s *start) create(ctx context.Context) error {
	l := s.spec.Limits
	m := &s.machine
	m.Name, m.Artifact = machineName(s.spec.ID), s.packedAt
	m.Labels = map[string]string{labelID: s.spec.ID.String()}
	m.CPUs, m.Memory, m.Storage = defaultCPUs, defaultMemory, systemStorage
	if l.CPUs > 0 {
		m.CPUs = int(math.Ceil(l.CPUs))
	}
	if l.Memory > 0 {
		m.Memory = max(int(l.Memory>>20), leastMemory)
	}
	m.Storage += int((l.Disk + 1<<30 - 1) >> 30)
	s.say(fmt.Sprintf("a machine of %s without a network: CPUs %d, memory %d MiB", s.spec.System.Ref, m.CPUs, m.Memory))
	// Registered first: it may be made and we not hear of it.
	s.undo.Add(s.removeMachine)
	s.made = true
	err := s.tool.Create(ctx, *m)
	if errors.Is(err, smolvm.ErrExists) {
		s.made = false // it is not ours to remove
		s.kept = true
		return fmt.Errorf("%w: %w; \"claude-bottle cleanup\" removes what a crash left", backend.ErrExists, err)
	}
	return err
}

// removing bounds the removal of a machine that never was a bottle.
const removing = 3 * time.Minute

func (s *start) removeMachine() error {
	if !s.made || s.kept {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), removing)
	defer cancel()
	return s.tool.Delete(ctx, s.machine.Name)
}

// boot starts the machine and looks at what it is.
func (s *start) boot(ctx context.Context) error {
	if err := s.tool.Start(ctx, s.machine.Name); err != nil {
		return err
	}
	for end := time.Now().Add(runningPatience); ; {
		now, err := s.tool.Status(ctx, s.machine.Name)
		if err != nil {
			return err
		}
		if now.State == smolvm.Running {
			return s.verify(now)
		}
		if time.Now().After(end) {
			return &smolvm.Error{Why: fmt.Sprintf("machine %s was started and is %s", s.machine.Name, now.State), Fix: "see what this host lacks: claude-bottle doctor"}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// verify refuses a machine that is not what was asked for.
func (s *start) verify(now smolvm.Status) error {
	var wrong []string
	claim := func(ok bool, format string, a ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, a...))
		}
	}
	claim(!now.Network, "it has a network")
	claim(now.Ports == 0, "it publishes %d ports", now.Ports)
	claim(now.Mounts == 0, "it shows %d folders of this host", now.Mounts)
	claim(now.CPUs == s.machine.CPUs, "it has %d processors instead of %d", now.CPUs, s.machine.CPUs)
	claim(now.Memory == s.machine.Memory, "it has %d MiB of memory instead of %d", now.Memory, s.machine.Memory)
	claim(now.Labels[labelID] == s.spec.ID.String(), "it is labelled as the bottle %q", now.Labels[labelID])
	if len(wrong) > 0 {
		return fmt.Errorf("machine %s is not what was asked for: %s", now.Name, strings.Join(wrong, ", "))
	}
	return nil
}

// fill copies the bottle's files and folders into the machine.
func (s *start) fill(ctx context.Context) error {
	cork, uid, gid := agentIDs(s.spec.ID)
	j := jail.Spec{Hostname: s.spec.Hostname, Whole: true, Tmp: s.spec.Limits.Tmp, UID: uid, GID: gid}
	g := given{UID: uid, GID: gid}
	for i, m := range s.spec.Mounts {
		j.Mounts = append(j.Mounts, jail.Mount{Source: filepath.Join(bottleDir, mountName(i)), Target: m.Target, Writable: m.Writable})
		if m.Writable {
			g.Names = append(g.Names, mountName(i))
		}
	}
	slices.SortStableFunc(j.Mounts, func(a, b jail.Mount) int {
		return strings.Count(a.Target, "/") - strings.Count(b.Target, "/")
	})
	for _, f := range s.spec.Files {
		j.Files = append(j.Files, jail.File{Path: f.Path, Mode: f.Mode.Perm(), Size: int64(len(f.Data))})
	}
	s.setup = setup{
		Jail: j, Who: guest.Who{Cork: cork, UID: uid, GID: gid}, Socket: s.machine.GuestSocket,
		PIDs: uint64(max(s.spec.Limits.PIDs, 0)), Disk: uint64(max(s.spec.Limits.Disk, 0)), Meter: s.spec.Limits.Disk,
	}
	told, err := json.Marshal(g)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := s.pour(ctx, w)
		_ = w.CloseWithError(err) // never fails
		packed <- err
	}()
	words := &spawn.Words{}
	cmd := s.tool.Exec(ctx, s.machine.Name, corkPath, backend.CorkCommand, Name, verbFill, string(told))
	cmd.Stdin, cmd.Stderr = r, words
	err = cmd.Run()
	_ = r.CloseWithError(io.ErrClosedPipe) // ends the reading of the folders when nobody wants them
	if perr := <-packed; perr != nil && !errors.Is(perr, io.ErrClosedPipe) {
		err = perr
	} else if err != nil {
		err = s.tool.ExecError(words.String(), err)
	}
	if err != nil {
		return fmt.Errorf("copy the bottle's files into the machine: %w", err)
	}
	s.record.Filled = true
	return s.claim.write(s.record)
}

// pour writes what fill takes.
func (s *start) pour(ctx context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	err := carry.Bytes(tw, "/"+filesName, 0o600, blobOf(s.spec.Files))
	for i, m := range s.spec.Mounts {
		if err == nil {
			err = carry.Tree(ctx, tw, m.Source, "/"+mountName(i))
		}
	}
	return errors.Join(err, tw.Close())
}

// report is the evidence of what was reached.
func (s *start) report(r guest.Report) backend.Report {
	l := s.spec.Limits
	out := backend.Report{
		Backend: Name, Namespaces: []string{"mount", "pid", "net", "ipc", "uts", "cgroup"},
		Landlock: r.Landlock, Seccomp: true, CorkUID: uint32(s.setup.Who.Cork), AgentUID: uint32(s.setup.Who.UID),
		Limits: []string{"memory: machine", "cpu: machine"}, Notes: r.Notes, Narrow: r.Narrow, Env: s.env,
		Runtime: "smolvm " + s.version,
	}
	for _, by := range []struct {
		asked bool
		text  string
	}{{l.PIDs > 0, "pids: rlimit"}, {l.Disk > 0, "disk: meter"}, {l.Tmp > 0, "tmp: tmpfs"}} {
		if by.asked {
			out.Limits = append(out.Limits, by.text)
		}
	}
	if l.CPUs > 0 && l.CPUs != math.Ceil(l.CPUs) {
		out.Notes = append(out.Notes, fmt.Sprintf("a machine has whole processors: %d instead of %g", s.machine.CPUs, l.CPUs))
	}
	if !s.bySocket {
		out.Notes = append(out.Notes, "the wire goes over smolvm's own way to run commands, which is slower than a socket")
	}
	if r.Landlock == 0 {
		out.Notes = append(out.Notes, "the machine's kernel has no Landlock: mounts and seccomp stand without their second layer")
	}
	return out
}
