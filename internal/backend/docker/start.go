package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/guest"
	"github.com/claude-bottle/claude-bottle/internal/backend/system"
	"github.com/claude-bottle/claude-bottle/internal/engine"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// patience bounds the making of a container once its image is there, and the taking down of one. It
// takes some hundred milliseconds; a busy engine takes longer.
const patience = time.Minute

// hearing is how long a request that makes something is listened to when nobody wants it any more.
const hearing = 10 * time.Second

// outlasting is for a request that makes something in the engine, which goes on making it when the
// one who asked has gone: we stay to hear of it, so as to take it away.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(hearing, cancel) })
	return lasting, func() {
		stop()
		cancel()
	}
}

// start is a bottle being made.
type start struct {
	backend  *Backend
	spec     backend.Spec
	engine   *engine.Engine
	info     engine.Info
	cork     string // the path of our program as the engine can run it
	who      identity
	shape    shape
	env      []string // of the image
	own      string   // our private folder in the bottle's
	folders  folders
	id       string // the container's
	attached *attached
	listener *net.UnixListener
	words    *spawn.Words
	undo     spawn.Cleanup
	held     int // how much of undo is not of the folders and the container
	say      func(string)
}

// Start implements backend.Backend.
func (b *Backend) Start(ctx context.Context, spec backend.Spec, progress func(string)) (_ backend.Bottle, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s := &start{backend: b, spec: spec, words: &spawn.Words{}, say: progress}
	if s.say == nil {
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
	if s.engine, err = b.connect(ctx); err != nil {
		return nil, err
	}
	s.undo.Add(s.engine.Close)
	s.info = s.engine.Info()
	for _, step := range []func(context.Context) error{s.chooseRuntime, s.makeImage, s.hold, s.build, s.attach, s.run} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return s.meet(ctx)
}

// build lays out the folders and makes the container of them. An engine on this kernel may still see
// other files than we do, as when we are in a container and its socket is shown to us: then nothing
// is shared.
func (s *start) build(ctx context.Context) error {
	err := s.layOut(ctx)
	if err == nil {
		err = s.create(ctx)
	}
	if err == nil || !s.who.shared || !strings.Contains(err.Error(), "bind source path does not exist") {
		return err
	}
	s.say("the engine sees other files than we do: copying instead of sharing")
	err = s.undo.RunTo(s.held)
	s.who, s.shape.labels, s.listener = elsewhere(s.spec.ID), labelsOf(s.spec.ID), nil
	if err := errors.Join(err, s.hold(ctx), s.layOut(ctx)); err != nil {
		return err
	}
	return s.create(ctx)
}

// hostKernels are runtimes whose containers run on the kernel of the engine's host.
var hostKernels = []string{"runc", "crun", "io.containerd.runc.v2"}

// chooseRuntime settles what runs the container, and with it who its processes are and which program
// is its first.
func (s *start) chooseRuntime(context.Context) (err error) {
	s.shape = shape{spec: s.spec, engine: s.info, labels: labelsOf(s.spec.ID)}
	if s.cork, err = backend.CorkFor(s.backend.exe, s.info.Arch); err != nil {
		return err
	}
	s.shape.runtime, err = s.info.PickRuntime(s.spec.System.Runtime)
	s.shape.ownKernel = !slices.Contains(hostKernels, s.runtime())
	s.who = identityFor(s.spec.ID, s.info, s.shape.ownKernel, os.Geteuid(), os.Getegid())
	return err
}

// makeImage turns what the bottle's system is made from into an image.
func (s *start) makeImage(ctx context.Context) error {
	made, err := system.Make(ctx, s.engine, s.spec, s.say)
	if err != nil {
		return err
	}
	s.shape.image, s.shape.volumes, s.env = made.ID, made.Volumes, made.Env
	return nil
}

// hold makes our folder in the bottle's, for as long as this process holds the bottle.
func (s *start) hold(ctx context.Context) error {
	s.held = s.undo.Len()
	s.own = filepath.Join(s.spec.Dir, ownFolder)
	if err := os.Mkdir(s.own, 0o711); err != nil {
		if !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("state folder: %w", err)
		}
		// A bottle that lives, or what a crash left of one: the engine knows.
		_, err := s.engine.API().ContainerInspect(ctx, containerName(s.spec.ID), client.ContainerInspectOptions{})
		switch {
		case err == nil:
			return fmt.Errorf("%w: the engine has a container of it; \"claude-bottle cleanup\" removes what a crash left", backend.ErrExists)
		case !errdefs.IsNotFound(err):
			return fmt.Errorf("look for an earlier container: %w", explain(err))
		}
		if err := errors.Join(removeOwn(s.own), os.Mkdir(s.own, 0o711)); err != nil {
			return fmt.Errorf("state folder: %w", err)
		}
	}
	s.undo.Add(func() error { return removeOwn(s.own) })
	return nil
}

// lentPlace begins the names of the places in our folder where the operator's are mounted.
const lentPlace = "lent-"

// removeOwn removes our folder in the bottle's. A mount that is still in it shows a folder of the
// operator's: it goes first, and nothing is removed when it doesn't.
func removeOwn(own string) error {
	entries, err := os.ReadDir(own)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var places []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), lentPlace) {
			places = append(places, filepath.Join(own, e.Name()))
		}
	}
	if err := takeBack(places); err != nil {
		return err
	}
	for _, at := range places {
		if err := os.Remove(at); err != nil { // not what lies in it, should it be mounted still
			return err
		}
	}
	return os.RemoveAll(own)
}

// socketWire reports whether the wire goes over a unix socket: it must be this very kernel that runs
// the container, not one of the runtime's own.
func (s *start) socketWire() bool { return s.who.shared && !s.backend.stdio && !s.shape.ownKernel }

// layOut makes the folders and files of the bottle ready, and says what cork is to do.
func (s *start) layOut(ctx context.Context) (err error) {
	s.shape.setup = setup{
		CorkUID: s.who.cork, AgentUID: s.who.agentUID, AgentGID: s.who.agentGID,
		Disk: uint64(max(s.spec.Limits.Disk, 0)),
	}
	if s.who.own || s.shape.ownKernel {
		s.shape.setup.PIDs = uint64(max(s.spec.Limits.PIDs, 0))
	}
	if s.socketWire() {
		s.shape.setup.Socket = wirePath
		if err := s.listen(); err != nil {
			return err
		}
	}
	for _, m := range s.spec.Mounts {
		if m.Writable {
			s.shape.setup.Writable = append(s.shape.setup.Writable, m.Target)
		}
	}
	s.folders, err = s.arrange(ctx)
	if err != nil {
		return err
	}
	s.shape.mounts = s.folders.mounts()
	return s.folders.label(s.shape.labels)
}

// files are the small files of the bottle, the bottle's own before what its Spec puts in their
// place.
func (s *start) files() []backend.File {
	files := backend.Accounts(s.spec.Hostname, "/bin/sh", s.who.agentUID, s.who.agentGID)
	for _, f := range s.spec.Files {
		if i := slices.IndexFunc(files, func(o backend.File) bool { return o.Path == f.Path }); i >= 0 {
			files[i] = f
		} else {
			files = append(files, f)
		}
	}
	return files
}

// create makes the container. Its name is the bottle's claim to its id on this engine.
func (s *start) create(ctx context.Context) error {
	config, host, err := s.shape.configs()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Registered first: the engine may make them and we not hear of it.
	for _, v := range s.shape.declared() {
		s.undo.Add(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return removeVolume(ctx, s.engine.API(), v.Source)
		})
	}
	s.undo.Add(s.remove)
	making, heard := outlasting(ctx)
	defer heard()
	made, err := s.engine.API().ContainerCreate(making, client.ContainerCreateOptions{
		Config: config, HostConfig: host, Name: containerName(s.spec.ID),
	})
	if errdefs.IsConflict(err) {
		s.id = "-" // it is not ours to remove
		return fmt.Errorf("%w: %w; \"claude-bottle cleanup\" removes what a crash left", backend.ErrExists, err)
	}
	if err != nil {
		return fmt.Errorf("create the container: %w", explain(err))
	}
	s.id = made.ID
	return s.folders.fill(ctx)
}

// remove ends the container and makes it disappear; one that was never made is no error.
func (s *start) remove() error {
	name := s.id
	switch name {
	case "-":
		return nil
	case "":
		name = containerName(s.spec.ID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return removeContainer(ctx, s.engine.API(), name)
}

// attach takes the container's standard files before anything can come from them.
func (s *start) attach(ctx context.Context) error {
	stdin := s.shape.setup.Socket == ""
	h, err := s.engine.API().ContainerAttach(ctx, s.id, client.ContainerAttachOptions{Stream: true, Stdin: stdin, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("attach to the container: %w", err)
	}
	s.attached = newAttached(h.HijackedResponse, s.words)
	s.undo.Add(func() error {
		_ = s.attached.Close() // it may be the session's, and closed
		return nil
	})
	return nil
}

// runtime is what the container is run by.
func (s *start) runtime() string { return cmp.Or(s.shape.runtime, s.info.DefaultRuntime) }

func (s *start) run(ctx context.Context) error {
	s.say(fmt.Sprintf("a container of %s without a network, run by %s", s.spec.System.Ref, s.runtime()))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := s.engine.API().ContainerStart(ctx, s.id, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("start the container: %w", explain(err))
	}
	return nil
}

// meet takes cork's report and makes the bottle of it.
func (s *start) meet(ctx context.Context) (backend.Bottle, error) {
	b := &Bottle{Life: backend.NewLife(), start: s}
	var r guest.Report
	var err error
	if s.listener != nil {
		r, err = s.meetSocket(ctx, b)
	} else {
		r, err = s.meetStdio(ctx, b)
	}
	switch {
	case err != nil:
		return nil, s.explainSilence(err)
	case r.Failed != "":
		return nil, fmt.Errorf("inside the bottle: %s", r.Failed)
	}
	b.Seal = s.report(r)
	b.watch()
	return b, nil
}

// explainSilence adds what cork or its runtime last said to an error of waiting for it.
func (s *start) explainSilence(err error) error {
	_ = s.remove() // the words are complete only then; the undo stack does it again
	s.attached.settle()
	if words := s.words.String(); words != "" {
		return fmt.Errorf("cork ended: %s", words)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("cork did not get ready within %v: %w", patience, err)
	}
	return fmt.Errorf("cork ended without a word: %w", err)
}

// meetStdio takes the report from the container's output, and then the wire.
func (s *start) meetStdio(ctx context.Context, b *Bottle) (r guest.Report, err error) {
	stop := context.AfterFunc(ctx, func() { _ = s.attached.Close() })
	timer := time.AfterFunc(patience, func() { _ = s.attached.Close() })
	r, err = guest.Receive(s.attached)
	timer.Stop()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil || r.Failed != "" {
		return r, err
	}
	b.Session = wire.NewSession(s.attached, wire.Warden)
	b.Outlets = wire.WaysOver(b.Session)
	b.Outlets.Narrow = r.Narrow
	return r, nil
}

// report is the evidence of what was reached.
func (s *start) report(r guest.Report) backend.Report {
	by, notes := s.shape.enforced()
	out := backend.Report{
		Backend: Name, Namespaces: []string{"mount", "pid", "net", "ipc", "uts"},
		Landlock: r.Landlock, Seccomp: true, CorkUID: uint32(s.who.cork), AgentUID: uint32(s.who.agentUID),
		Limits: by, Notes: slices.Concat(notes, r.Notes), Runtime: s.runtime(), Narrow: r.Narrow, Env: s.env,
	}
	if s.info.Kind != engine.Podman || s.info.Cgroup == "2" { // Podman shares it on version 1, whatever it is asked
		out.Namespaces = append(out.Namespaces, "cgroup")
	}
	if s.info.Rootless || s.info.UserNS {
		out.Namespaces = append([]string{"user"}, out.Namespaces...)
	}
	if r.Landlock == 0 {
		out.Notes = append(out.Notes, "this kernel has no Landlock: mounts and seccomp stand without their second layer")
	}
	return out
}
