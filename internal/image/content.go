package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Content is an image that can be read, wherever it lies: in an engine (InEngine), in a file
// (Archive) or in a registry (Remote). Nothing of it but its configuration was read yet.
type Content struct {
	// Digest stands for everything in it: the engine's ID of the image, or the digest of its
	// configuration, "sha256:…".
	Digest string
	Ref    string // what people call it
	Arch   string // the processor it is for, in Go's words
	// Of its configuration: "PATH=…"; the folder to start in; the user, empty for root; the folders
	// declared to be volumes, sorted.
	Env           []string
	Workdir, User string
	Volumes       []string

	// open brings the image's layers onto this host. What it took goes with layered.close.
	open func(ctx context.Context, s *supply) (*layered, error)
}

// layered is an image at hand: its configuration, and its layers from the lowest up, each a tar,
// packed or not.
type layered struct {
	config *v1.ConfigFile
	layers []*io.SectionReader
	close  func()
}

// InEngine is the image in its engine; Serve exports it.
func InEngine(ctx context.Context, e Engine, img Image) (Content, error) {
	m := &maker{Engine: e}
	found, err := e.API.ImageInspect(ctx, img.ID)
	switch {
	case ctx.Err() != nil:
		return Content{}, fmt.Errorf("image %s: %w", img.Ref, context.Cause(ctx))
	case cerrdefs.IsNotFound(err):
		return Content{}, fmt.Errorf("the engine does not have the image %s any more", img.Ref)
	case err != nil:
		return Content{}, m.engineError("look for the image "+img.Ref, err)
	}
	c := Content{Digest: "sha256:" + bare(found.ID), Ref: img.Ref, Arch: found.Architecture, Env: img.Env, User: img.User, Volumes: img.Volumes}
	if found.Config != nil {
		c.Workdir = found.Config.WorkingDir
	}
	c.open = func(ctx context.Context, s *supply) (*layered, error) {
		return m.export(ctx, s, c, found.Size)
	}
	return c, nil
}

// export has the engine write the image out, as `docker save` does.
func (m *maker) export(ctx context.Context, s *supply, c Content, size int64) (*layered, error) {
	doing := "export " + c.Ref
	body, err := m.API.ImageSave(ctx, []string{c.Digest})
	if err != nil {
		return nil, m.engineError(doing, err)
	}
	defer body.Close()
	f, err := s.spool(s.meter(ctx, body, "exporting", size), size)
	if err != nil {
		if _, ours := errorOf(err); ours || ctx.Err() != nil {
			return nil, err
		}
		return nil, m.engineError(doing, err)
	}
	files, err := indexTar(ctx, f)
	if err != nil {
		_ = f.Close() // it goes with it
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: what the engine wrote can't be read: %w", doing, err)
	}
	p, err := fromFiles(files, c.Ref, c.Arch)
	if err != nil {
		files.close()
		return nil, err
	}
	return p.take(files, c.Ref)
}

// fromConfig is a Content with what a configuration says.
func fromConfig(ref, digest string, config *v1.ConfigFile) Content {
	return Content{
		Digest: digest, Ref: ref, Arch: config.Architecture,
		Env: config.Config.Env, Workdir: config.Config.WorkingDir, User: config.Config.User,
		Volumes: slices.Sorted(maps.Keys(config.Config.Volumes)),
	}
}

// wrongArch is the error for an image that has something, but nothing for want.
func wrongArch(ref, want string, has []string) error {
	slices.Sort(has)
	return &Error{
		Why: fmt.Sprintf("%s is for %s, and linux/%s is wanted", ref, clean(strings.Join(slices.Compact(has), ", ")), want),
		Fix: fmt.Sprintf("name an image that is made for linux/%s", want),
	}
}

func digestOfBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
