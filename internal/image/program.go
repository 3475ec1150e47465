package image

import (
	"archive/tar"
	"context"
	_ "embed" // the text of the program's layer
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
)

//go:embed dockerfiles/program.Dockerfile
var programLayer string

// check refuses programs that can't work in this engine's containers.
func (p Program) check(e Engine) error {
	switch {
	case !path.IsAbs(p.Target) || path.Clean(p.Target) != p.Target || p.Target == "/":
		return fmt.Errorf("image: %s is to be at %q, which is no clean absolute path", p.Name, p.Target)
	case e.Arch != runtime.GOARCH: // programs are installed for this host's processor
		return &Error{
			Why: fmt.Sprintf("%s on this host is for %s, and the engine runs %s", p.Name, runtime.GOARCH, e.Arch),
			Fix: "use an engine on a machine of this kind, or an image that holds the program: CLAUDE_BOTTLE_IMAGE=name",
		}
	}
	return nil
}

// withProgram is the recipe for the program laid over what base makes.
func (m *maker) withProgram(ctx context.Context, base recipe, p Program) (recipe, error) {
	if err := p.check(m.Engine); err != nil {
		return recipe{}, err
	}
	what := p.Name + " " + p.Version
	t, err := programTree(ctx, p.Dir)
	if err != nil {
		return recipe{}, fmt.Errorf("image: %s: %w", what, err)
	}
	m.trees = append(m.trees, t)
	key := newKey("program")
	key.add(m.Arch, base.key, programLayer, p.Name, p.Version, p.Target)
	// A program's bytes are not read for its key: hundreds of megabytes that an installer wrote
	// once, and whose times change when they do.
	for _, e := range t.entries {
		key.add(e.path, e.mode.String(), e.link)
		if e.mode.IsRegular() {
			key.number(e.size)
			key.number(e.time)
		}
	}
	return m.built(key.String(), what, func(ctx context.Context, key string) error {
		under, err := base.get(ctx)
		if err != nil {
			return err
		}
		user := "0"
		if under.Config != nil && under.Config.User != "" {
			user = under.Config.User
		}
		return m.build(ctx, build{
			what: what, key: key, dockerfile: "Dockerfile", size: t.size,
			fix:  "see that the engine's builds reach the base system's package servers, or start from an image that has git",
			args: map[string]*string{"BASE": &base.tag, "BASE_USER": &user, "TARGET": &p.Target},
			write: func(ctx context.Context, tw *tar.Writer) error {
				if err := writeText(tw, "Dockerfile", programLayer); err != nil {
					return err
				}
				return t.write(ctx, tw, "program", readable)
			},
		})
	}), nil
}

// programTree lists a program's folder, or its lone file.
func programTree(ctx context.Context, dir string) (*tree, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		t, err := openTree(ctx, dir, nil)
		if _, big := errors.AsType[*tooBig](err); big {
			return nil, fmt.Errorf("%s holds more than %d MiB or %d files", dir, treeMax>>20, entriesMax)
		}
		return t, err
	}
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	e, ok, err := describe(root, filepath.Base(dir))
	if err == nil && (!ok || !e.mode.IsRegular()) {
		err = fmt.Errorf("%s is neither a folder nor a plain file", dir)
	}
	if err != nil {
		_ = root.Close() // it was only read
		return nil, err
	}
	return &tree{root: root, entries: []entry{e}, size: e.size, lone: true}, nil
}

// readable lets everybody read and run what its owner may: the bottle's user is another.
func readable(m fs.FileMode) fs.FileMode {
	if m.IsDir() || m&0o100 != 0 {
		return m.Type() | 0o755
	}
	return m.Type() | 0o644
}
