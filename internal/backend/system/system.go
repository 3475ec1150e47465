// Package system makes what a bottle's own system is made from into an image, in launch and after the
// operator's yes.
package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/engine"
	"github.com/claude-bottle/claude-bottle/internal/image"
	"github.com/claude-bottle/claude-bottle/internal/progress"
)

// imageLog is the file in the bottle's folder that keeps a build's whole output.
const imageLog = "image.log"

// Make turns what the bottle's system is made from into an image of the engine's. What a build says
// goes line by line to say, and as it came to a file in the bottle's folder.
func Make(ctx context.Context, e *engine.Engine, s backend.Spec, say func(string)) (_ image.Image, err error) {
	if s.System.Ref == "" {
		return image.Image{}, errors.New("the bottle names no image")
	}
	path := filepath.Join(s.Dir, imageLog)
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return image.Image{}, fmt.Errorf("log of the image's build: %w", err)
	}
	defer func() {
		err = errors.Join(err, log.Close())
		if st, serr := os.Stat(path); serr == nil && st.Size() == 0 {
			_ = os.Remove(path) // nothing was built
		}
	}()
	source := image.Source{Ref: s.System.Ref, Prebuilt: s.System.Prebuilt, Dockerfile: s.System.Dockerfile, Base: s.System.Base}
	if p := s.System.Program; p != nil {
		source.Program = &image.Program{Name: p.Name, Version: p.Version, Dir: p.Dir, Target: p.Target}
	}
	return image.Ensure(ctx, Engine(e), source, image.Options{
		Progress: func(e progress.Event) { say(e.Line) }, Log: log, Locks: s.Cache, DockerConfig: DockerConfig(),
	})
}

// Engine is e as package image wants it.
func Engine(e *engine.Engine) image.Engine {
	i := e.Info()
	return image.Engine{API: e.API(), Kind: i.Kind, Arch: i.Arch, BuildKit: i.BuildKit}
}

// DockerConfig is where the docker command keeps its registry logins.
func DockerConfig() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker", "config.json")
}
