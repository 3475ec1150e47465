package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	buildapi "github.com/moby/moby/api/types/build"
	"github.com/moby/moby/client"
)

// build is one build in the engine.
type build struct {
	what       string // what is built, for people: a Dockerfile's path, "claude 2.1.3"
	key        string
	dockerfile string // its name in the context
	size       int64  // of the context, in bytes, about
	args       map[string]*string
	fix        string // the hint when a step fails
	// write writes the context, until its ctx ends or the engine wants no more.
	write func(ctx context.Context, tw *tar.Writer) error
}

// errUnwanted ends the writing of a context that the engine does not read to its end.
var errUnwanted = errors.New("the engine wants no more of the context")

// build has the engine build b and name the result by its key. The name is given by the engine,
// when everything else is done: until then there is no image, and on error there is none.
func (m *maker) build(ctx context.Context, b build) error {
	m.out.say(fmt.Sprintf("building %s from %s (sending %.1f MiB)", m.ref, b.what, float64(b.size)/(1<<20)))
	version := buildapi.BuilderV1
	if m.BuildKit {
		version = buildapi.BuilderBuildKit
	}
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		tw := tar.NewWriter(w)
		err := b.write(ctx, tw)
		if err == nil {
			err = tw.Close()
		}
		w.CloseWithError(err) // nil is the end of the stream
		sent <- err
	}()
	var f follower
	res, err := m.API.ImageBuild(ctx, r, client.ImageBuildOptions{
		Tags:        []string{tagOf(b.key)},
		Dockerfile:  b.dockerfile,
		BuildArgs:   b.args,
		Labels:      map[string]string{Label: "1", KeyLabel: b.key},
		NetworkMode: m.o.Network,
		Version:     version,
		Remove:      true,
		ForceRemove: true,
	})
	if err == nil {
		err = f.follow(res.Body, m.out)
		_ = res.Body.Close() // it was only read
	}
	r.CloseWithError(errUnwanted)
	unsent := <-sent
	doing := fmt.Sprintf("build %s from %s", m.ref, b.what)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	case unsent != nil && !errors.Is(unsent, errUnwanted) && !errors.Is(unsent, io.ErrClosedPipe):
		return fmt.Errorf("%s: %w", doing, unsent)
	case f.failure == "" && err == nil:
		return nil
	case f.failure == "" && lost(err):
		return m.engineError(doing, err)
	case f.failure == "": // refused as a whole, as a Dockerfile that is none
		f.failure = err.Error()
	}
	return m.failed(doing, b, f)
}

// failed is the error for a build of which the engine said that it failed.
func (m *maker) failed(doing string, b build, f follower) error {
	if f.step != "" {
		doing += ": " + f.step
	}
	err := m.engineError(doing, errors.New(f.failure))
	if e, ok := errors.AsType[*Error](err); ok { // one with a hint of its own
		e.Tail = f.tail
		return e
	}
	return &Error{Why: err.Error(), Tail: f.tail, Fix: b.fix}
}
