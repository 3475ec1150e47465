package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// mark is the instruction by which a classic builder's intermediate images carry our label.
const mark = "LABEL " + Label + "=1"

// fromDockerfile is the recipe for what the operator's Dockerfile makes.
func (m *maker) fromDockerfile(ctx context.Context, file string) (recipe, error) {
	text, err := readBounded(file, dockerfileMax)
	if err != nil {
		return recipe{}, &Error{
			Why: fmt.Sprintf("the Dockerfile %s can't be read: %v", file, cause(err)),
			Fix: "correct dockerfile: in the bottle's manifest, or the file's permissions", Err: err,
		}
	}
	dir, name := filepath.Split(file)
	dir = filepath.Clean(dir)
	d := readDockerfile(text, m.Arch)
	key := newKey("dockerfile")
	key.add(m.Arch, name, text)

	t, err := m.context(ctx, dir)
	if err != nil {
		return recipe{}, err
	}
	key.entries(t.entries)

	from := d.images
	if m.BuildKit && d.frontend != "" {
		// BuildKit fetches nothing that needs a login unless the client stays in session: what it
		// is to use is put there before.
		from = append([]string{d.frontend}, from...)
	}
	for _, ref := range from {
		img, err := m.present(ctx, ref, "name another image in "+file)
		if err != nil {
			return recipe{}, err
		}
		key.add(ref, img.ID)
	}
	if !m.BuildKit {
		text = d.labelled(mark)
	}
	return m.built(key.String(), file, func(ctx context.Context, key string) error {
		return m.build(ctx, build{
			what: file, key: key, dockerfile: name, size: t.size, fix: "correct that step of " + file,
			write: func(ctx context.Context, tw *tar.Writer) error { return t.writeContext(ctx, tw, name, text) },
		})
	}), nil
}

// context lists the folder of the operator's Dockerfile, digests and all.
func (m *maker) context(ctx context.Context, dir string) (*tree, error) {
	file := filepath.Join(dir, ".dockerignore")
	text, err := readBounded(file, ignoreMax)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Why: fmt.Sprintf("%s can't be read: %v", file, cause(err)), Fix: "correct its permissions, or remove it", Err: err}
	}
	ig, err := parseIgnore(text)
	if err != nil {
		return nil, &Error{Why: fmt.Sprintf("%s: %v", file, err), Fix: "correct that pattern; without it too much, or too little, would go into the image"}
	}
	t, err := openTree(ctx, dir, ig)
	if big, ok := errors.AsType[*tooBig](err); ok {
		return nil, &Error{
			Why: fmt.Sprintf("the folder of the Dockerfile, %s, is too big to send: more than %d MiB or %d files; the most, %d MiB, is in %s",
				dir, treeMax>>20, entriesMax, big.size>>20, filepath.Join(dir, big.folder)),
			Fix: fmt.Sprintf("list what the image does not need in %s, or give the Dockerfile a folder of its own", file),
		}
	}
	if err == nil {
		m.trees = append(m.trees, t)
		known := openDigests(m.o.Locks, dir)
		if err = t.sum(ctx, known); err == nil {
			if err := known.save(); err != nil {
				return nil, fmt.Errorf("image: %w", err)
			}
		}
	}
	if err != nil {
		return nil, &Error{
			Why: fmt.Sprintf("the folder of the Dockerfile, %s, can't be read: %v", dir, err),
			Fix: "make its files readable, or list what the image does not need in " + file, Err: err,
		}
	}
	return t, nil
}

// writeContext writes the tree as the context of a build whose Dockerfile has this name and text,
// whether the tree holds the Dockerfile or ignores it.
func (t *tree) writeContext(ctx context.Context, tw *tar.Writer, name, text string) error {
	if err := writeText(tw, name, text); err != nil {
		return err
	}
	rest := *t
	rest.entries = nil
	for _, e := range t.entries {
		if e.path != name {
			rest.entries = append(rest.entries, e)
		}
	}
	return rest.write(ctx, tw, "", asItIs)
}
