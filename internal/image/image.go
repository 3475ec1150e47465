// Package image turns what a bottle's system is made from into an image in a container engine: the
// operator's Dockerfile or a base image, with the agent program laid over it. It works in launch,
// never in prepare: it builds, it may pull, it takes minutes the first time and milliseconds after
// that.
//
//	img, err := image.Ensure(ctx, e, image.Source{Ref: "claude-bottle:latest", Program: &p}, o)
//	// create the container from img.ID
//
// An image is found again by a key over everything that goes into it: the Dockerfile, the files of
// its context, the IDs of the images it starts from, the program. It carries the key as a label and
// as the tag "claude-bottle:<first 12 digits>", so that a hit is one look at one image. Of launches
// at once one builds, the others wait for it. A build that fails leaves no tag; what a classic
// builder keeps of it as its cache carries our label, and Found shows it.
package image

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/moby/moby/client"
)

// Step is the progress step under which everything here reports.
const Step = "image"

// DefaultBase is what the agent program is laid over when the operator names nothing.
const DefaultBase = "debian:12-slim"

// Repository is the name under which built images are kept, their keys being the tags.
const Repository = "claude-bottle"

// Source says what a bottle's system is made from. It is plain data, made by prepare.
type Source struct {
	// Ref is the name built images get, "claude-bottle:latest"; it points to the one made last.
	// With Prebuilt it names the image to use.
	Ref string
	// Prebuilt uses Ref as it is: pulled where it is absent, never built or changed. The fields
	// below don't count then.
	Prebuilt bool
	// Dockerfile is the absolute path of the operator's; the folder it lies in is the context, and
	// a .dockerignore there is honoured. Empty for none.
	Dockerfile string
	// Base is the image to start from where there is no Dockerfile; empty means DefaultBase.
	Base string
	// Program is the agent program laid over it; nil for none.
	Program *Program
}

// Program is an agent program on this host.
type Program struct {
	Name, Version string
	// Dir is the program's folder, or its lone file: an absolute path without symbolic links.
	Dir string
	// Target is the absolute path at which Dir is to be in the image.
	Target string
}

// Engine is the container engine to build in, with what must be known about it.
type Engine struct {
	API client.APIClient
	// Kind is the word for the engine, and for the program that drives it by hand: "docker".
	Kind string
	// Arch is the engine's processor in Go's words: "amd64".
	Arch string
	// BuildKit tells that the engine builds with BuildKit when asked to.
	BuildKit bool
}

// Options are what a launch knows and a Source does not.
type Options struct {
	// Progress gets every line of a build's output, inert; nil for none.
	Progress progress.Sink
	// Log gets a build's output in full, byte for byte as it came: it may hold escape sequences.
	// Nil for none.
	Log io.Writer
	// Locks is our folder for lock files and the digests of files seen before, made (0700) when
	// missing. Launches that share it build once.
	Locks string
	// Network is what RUN steps see: "" for the engine's default, "none", "host".
	Network string
	// DockerConfig is the path of a Docker client's config.json, whose stored registry logins are
	// used to pull; empty, or a file that isn't there, for none.
	DockerConfig string
}

// Image is an image in the engine, ready to start containers from.
type Image struct {
	ID string // "sha256:…": what containers are to be made from, whatever Ref points to later
	// Ref is the name it goes by.
	Ref string
	// Built is true when this call built it, in whole or in part.
	Built bool
	Env   []string // of the image's configuration: "PATH=…"
	User  string   // of the image's configuration; empty is root
	// Volumes are the folders that the image's configuration declares to be volumes, sorted.
	Volumes []string
}

// Ensure returns the image for s, building or pulling what is missing. Errors that the operator can
// do something about carry a hint; when ctx ends, the error wraps its cause.
func Ensure(ctx context.Context, e Engine, s Source, o Options) (Image, error) {
	m := &maker{Engine: e, o: o, ref: s.Ref, out: &output{sink: o.Progress, log: o.Log}}
	defer func() {
		for _, t := range m.trees {
			t.close()
		}
	}()
	img, err := m.ensure(ctx, s)
	if err != nil && ctx.Err() != nil {
		return Image{}, fmt.Errorf("image %s: %w", s.Ref, context.Cause(ctx))
	}
	return img, err
}

// maker is one Ensure at work.
type maker struct {
	Engine
	o     Options
	ref   string
	out   *output
	trees []*tree // open until the end
	done  bool    // something was built
}

func (m *maker) ensure(ctx context.Context, s Source) (Image, error) {
	began := time.Now()
	if s.Prebuilt {
		img, err := m.present(ctx, s.Ref, "name another image with CLAUDE_BOTTLE_IMAGE, or unset it to have one built")
		if err != nil {
			return Image{}, err
		}
		return m.image(img, s.Ref), nil
	}
	if err := os.MkdirAll(m.o.Locks, 0o700); err != nil {
		return Image{}, fmt.Errorf("image %s: %w", s.Ref, err)
	}
	var last recipe
	if s.Dockerfile != "" {
		r, err := m.fromDockerfile(ctx, s.Dockerfile)
		if err != nil {
			return Image{}, err
		}
		last = r
	} else {
		base := s.Base
		if base == "" {
			base = DefaultBase
		}
		img, err := m.present(ctx, base, "name another image with base:")
		if err != nil {
			return Image{}, err
		}
		if s.Program == nil {
			return m.image(img, base), nil
		}
		last = existing(base, img)
	}
	if s.Program != nil {
		r, err := m.withProgram(ctx, last, *s.Program)
		if err != nil {
			return Image{}, err
		}
		last = r
	}
	img, err := last.get(ctx)
	if err != nil {
		return Image{}, err
	}
	if err := m.point(ctx, img); err != nil {
		return Image{}, err
	}
	if m.done {
		m.out.say(fmt.Sprintf("built %s in %.1f s", s.Ref, time.Since(began).Seconds()))
	} else {
		m.out.say("image is up to date")
	}
	return m.image(img, s.Ref), nil
}

func (m *maker) image(img client.ImageInspectResult, ref string) Image {
	i := Image{ID: img.ID, Ref: ref, Built: m.done}
	if img.Config != nil {
		i.Env, i.User = img.Config.Env, img.Config.User
		i.Volumes = slices.Sorted(maps.Keys(img.Config.Volumes))
	}
	return i
}
