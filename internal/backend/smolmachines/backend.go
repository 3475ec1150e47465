package smolmachines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/carry"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/engine"
	"github.com/claude-bottle/claude-bottle/internal/smolvm"
)

// Backend is the smolmachines backend. Its methods are safe for concurrent use.
type Backend struct {
	exe   string // this program; see backend.CorkFor for what runs in a machine
	env   func(string) (string, bool)
	stdio bool // the wire goes over standard input and output also where a socket could be had
}

// New returns the backend. exe is the absolute path of this program, or of any other whose main calls
// CorkMain when its first argument is backend.CorkCommand.
func New(exe string) *Backend { return &Backend{exe: exe, env: os.LookupEnv} }

// Name implements backend.Backend.
func (*Backend) Name() string { return Name }

func (b *Backend) home() string {
	if home, ok := b.env("HOME"); ok {
		return home
	}
	return ""
}

// cache is where artifacts are kept: $XDG_CACHE_HOME/claude-bottle/smolmachines.
func (b *Backend) cache() string {
	base, _ := b.env("XDG_CACHE_HOME")
	if !filepath.IsAbs(base) {
		base = filepath.Join(b.home(), ".cache")
	}
	return filepath.Join(base, "claude-bottle", Name)
}

// tool finds smolvm and refuses one that won't do.
func (b *Backend) tool(ctx context.Context) (t smolvm.Tool, version string, err error) {
	t, err = smolvm.Find(b.env, b.home())
	if err == nil {
		version, err = t.Check(ctx)
	}
	switch {
	case err == nil:
		return t, version, nil
	case ctx.Err() != nil:
		return t, "", context.Cause(ctx)
	case errors.Is(err, smolvm.ErrNotInstalled):
		err = &smolvm.Error{Why: err.Error(), Fix: install}
	}
	return t, "", fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
}

const install = "curl -sSL https://smolmachines.com/install.sh | bash, or export " + smolvm.ProgramVariable + "=/path/of/smolvm"

// findEngine finds the container engine that images are built in.
func (b *Backend) findEngine() (engine.Where, error) { return engine.Find(b.env, b.home()) }

// Facts says whether bottles can run in machines, by reading files alone.
func Facts() backend.Facts { return New("").facts(smolvm.KVM) }

func (b *Backend) facts(kvm func() (why, fix string, certain bool)) backend.Facts {
	f := backend.Facts{
		Name: Name, OwnSystem: true,
		Limits: map[string]backend.Enforcement{
			"memory": {By: "machine"}, "cpus": {By: "machine"}, "pids": {By: "rlimit"}, "disk": {By: "meter"}, "tmp": {By: "tmpfs"},
		},
		Notes: []string{noResume},
	}
	t, err := smolvm.Find(b.env, b.home())
	switch {
	case runtime.GOOS != "linux" && runtime.GOOS != "darwin":
		f.Why, f.Fix = "smolvm runs on Linux and macOS", "use another backend"
	case errors.Is(err, smolvm.ErrNotInstalled):
		f.Why, f.Fix = err.Error(), install
	case err != nil:
		f.Why, f.Fix = err.Error(), hint(err)
	default:
		// Whoever names the program may have one that boots otherwise.
		if why, fix, certain := kvm(); certain && !t.Insisted {
			f.Why, f.Fix = why, fix
		}
	}
	f.Ready = f.Why == ""
	return f
}

// noResume is said before a launch, and by doctor.
const noResume = "a machine ends with its bottle: no snapshot, fork or resume; what the agent wrote is copied home"

// hint is what an error says to do.
func hint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}

// Describe implements backend.Describer.
func (b *Backend) Describe(ctx context.Context) (d backend.Description, err error) {
	t, version, err := b.tool(ctx)
	if err != nil {
		return d, err
	}
	d.Text = fmt.Sprintf("smolvm %s at %s; %s", version, t.Path, noResume)
	d.Doubt, d.Fix, _ = smolvm.KVM()
	return d, nil
}

// young is the age below which something of ours may be part of a bottle that is being made.
const young = time.Minute

// Found implements backend.Backend.
func (b *Backend) Found(ctx context.Context) ([]backend.Leftover, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	t, machines, err := b.machines(ctx)
	if err != nil {
		return nil, err
	}
	claimed, err := claims(t.Data)
	if err != nil {
		return nil, err
	}
	var out []backend.Leftover
	add := func(id bottle.ID, what string, made time.Time) {
		lives := held(t.Data, id)
		c := &claim{dir: claimDir(t.Data, id)}
		r, err := c.read()
		out = append(out, backend.Leftover{
			ID: id, What: what, Running: lives, Idle: !lives && time.Since(made) > young,
			Brings: err == nil && r.Filled && slices.ContainsFunc(r.Carried, func(f carry.Folder) bool { return carry.Awaited(f.Source) }),
		})
		delete(claimed, id)
	}
	for id, m := range machines {
		add(id, "machine "+m.Name, time.Unix(m.Created, 0))
	}
	for id, made := range claimed {
		add(id, "folder "+claimDir(t.Data, id), made)
	}
	return out, nil
}

// machines lists ours. Where there is no smolvm and no data folder of it there are none.
func (b *Backend) machines(ctx context.Context) (t smolvm.Tool, out map[bottle.ID]smolvm.Status, err error) {
	t, err = smolvm.Find(b.env, b.home())
	if _, serr := os.Stat(t.Data); t.Data != "" && errors.Is(serr, os.ErrNotExist) {
		return t, nil, nil
	}
	if err == nil {
		_, err = t.Check(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return t, nil, context.Cause(ctx)
		}
		return t, nil, fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
	all, err := t.List(ctx)
	if err != nil {
		return t, nil, err
	}
	out = map[bottle.ID]smolvm.Status{}
	for _, m := range all {
		if id, err := bottle.ParseID(m.Labels[labelID]); err == nil && m.Name == machineName(id) {
			out[id] = m
		}
	}
	return t, out, nil
}

// Remove implements backend.Backend. What a machine has of the bottle's folders comes home first,
// where those are still there.
func (b *Backend) Remove(ctx context.Context, id bottle.ID) error {
	if id.IsZero() {
		return errors.New("remove a bottle without an id")
	}
	t, machines, err := b.machines(ctx)
	if err != nil {
		return fmt.Errorf("remove what is left of %s: %w", id, err)
	}
	_, there := machines[id]
	if _, err := os.Stat(claimDir(t.Data, id)); !there && errors.Is(err, os.ErrNotExist) {
		return nil
	}
	c, err := take(t.Data, id)
	if err != nil {
		return fmt.Errorf("remove what is left of %s: %w", id, err)
	}
	r, err := c.read()
	if err == nil {
		err = takeDown(ctx, t, id, r, there)
	}
	if err != nil {
		c.release()
		return fmt.Errorf("remove what is left of %s: %w", id, err)
	}
	return c.drop()
}

// takeDown brings home what a machine has, where there is one, and removes it with the wire's socket.
// What can't come home keeps the machine: nothing may be lost.
func takeDown(ctx context.Context, t smolvm.Tool, id bottle.ID, r record, there bool) error {
	if there {
		if r.Filled {
			if err := bringHome(ctx, t, id, r.Carried); err != nil {
				return err
			}
		}
		if err := t.Delete(ctx, machineName(id)); err != nil {
			return err
		}
	}
	if r.Socket == "" {
		return nil
	}
	if err := os.Remove(r.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
