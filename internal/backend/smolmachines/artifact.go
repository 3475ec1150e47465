package smolmachines

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/system"
	"github.com/claude-bottle/claude-bottle/internal/engine"
	"github.com/claude-bottle/claude-bottle/internal/image"
	"github.com/claude-bottle/claude-bottle/internal/progress"
	"github.com/claude-bottle/claude-bottle/internal/smolvm"
)

// What an artifact is packed with. A machine says itself what it takes, but smolvm takes its own defaults
// for nothing said, and then the artifact's count: so these are its defaults.
const (
	packCPUs   = defaultCPUs
	packMemory = defaultMemory
)

// layout is the version of what we put into artifacts.
const layout = "1"

// about is what is kept beside an artifact, for people.
type about struct {
	Ref    string    `json:"ref"`
	Digest string    `json:"digest"`
	Made   time.Time `json:"made"`
	Smolvm string    `json:"smolvm"`
}

func aboutPath(artifact string) string { return artifact + ".json" }

// makingPrefix begins the names of folders in which something is being made. Their maker holds a lock
// on them.
const makingPrefix = ".making-"

// artifact returns the packed image of the bottle's system, making what is missing: the image in an
// engine where it is to be built, a registry with it on loopback, and of that the artifact.
func (s *start) artifact(ctx context.Context) error {
	content, err := s.content(ctx)
	if err != nil {
		return err
	}
	if content.Arch != s.arch {
		return &smolvm.Error{
			Why: fmt.Sprintf("image %s is for linux/%s, and machines on this host run linux/%s", content.Ref, content.Arch, s.arch),
			Fix: "name an image for this host's processor",
		}
	}
	s.env = content.Env
	cache := s.backend.cache()
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return fmt.Errorf("cache of packed images: %w", err)
	}
	key, err := s.key(content)
	if err != nil {
		return err
	}
	path := filepath.Join(cache, key+smolvm.ArtifactSuffix)
	if s.packed(path) {
		s.say("packed image is up to date")
		return nil
	}
	release, err := image.Lock(ctx, filepath.Join(cache, key+lockSuffix), func() {
		s.say("waiting for another launch that is packing " + content.Ref)
	})
	if err != nil {
		return fmt.Errorf("pack %s: %w", content.Ref, err)
	}
	defer release()
	if s.packed(path) { // by the other launch
		return nil
	}
	return s.pack(ctx, content, path)
}

// packed reports whether the artifact is there and what it should be, and takes it.
func (s *start) packed(path string) bool {
	a, err := smolvm.ReadArtifact(path)
	if err != nil || s.wrong(a) != "" {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // it only tells when it was used last
	s.packedAt = path
	return true
}

// wrong says what is wrong with an artifact; empty when nothing is.
func (s *start) wrong(a smolvm.Artifact) string {
	switch {
	case a.Platform != "linux/"+s.arch:
		return fmt.Sprintf("it is for %s, not for linux/%s", a.Platform, s.arch)
	case a.Network:
		return "it asks for a network, which no bottle has"
	case a.CPUs != packCPUs || a.Memory != packMemory:
		return fmt.Sprintf("it was packed with %d processors and %d MiB, not %d and %d", a.CPUs, a.Memory, packCPUs, packMemory)
	}
	return ""
}

// content finds the image that the bottle's system is. Only one that has to be built, or that an
// engine has under that name, needs an engine.
func (s *start) content(ctx context.Context) (image.Content, error) {
	ref := s.spec.System.Ref
	if ref == "" {
		return image.Content{}, errors.New("the bottle names no image")
	}
	prebuilt := s.spec.System.Prebuilt
	if prebuilt && image.IsArchive(ref) {
		return image.Archive(ctx, ref, s.arch)
	}
	e, err := s.connect(ctx)
	if err != nil {
		if prebuilt {
			return image.Remote(ctx, ref, s.arch, system.DockerConfig())
		}
		return image.Content{}, &smolvm.Error{
			Why: fmt.Sprintf("the image %s has to be built, and there is no container engine to build it in: %v", ref, err),
			Fix: "start Docker or Podman, or name an image that is there: " + imageVariable + "=registry/name:tag or /path/of/archive.tar",
		}
	}
	defer s.addClose(e)
	if prebuilt {
		_, err := e.API().ImageInspect(ctx, ref)
		if cerrdefs.IsNotFound(err) {
			return image.Remote(ctx, ref, s.arch, system.DockerConfig())
		}
	}
	img, err := system.Make(ctx, e, s.spec, s.say)
	if err != nil {
		return image.Content{}, err
	}
	return image.InEngine(ctx, system.Engine(e), img)
}

// imageVariable is the operator's, see package plan.
const imageVariable = "CLAUDE_BOTTLE_IMAGE"

func (s *start) connect(ctx context.Context) (*engine.Engine, error) {
	w, err := s.backend.findEngine()
	if err != nil {
		return nil, err
	}
	return engine.Connect(ctx, w)
}

// addClose keeps the engine for as long as its image may be read.
func (s *start) addClose(e *engine.Engine) { s.undo.Add(e.Close) }

// key stands for everything that goes into an artifact. Of our own program it is not the bytes, which
// an installer wrote once, but their number and time.
func (s *start) key(c image.Content) (string, error) {
	st, err := os.Stat(s.cork)
	if err != nil {
		return "", fmt.Errorf("our own program: %w", err)
	}
	h := sha256.New()
	for _, part := range []string{layout, c.Digest, s.arch, s.version, strconv.FormatInt(st.Size(), 10), strconv.FormatInt(st.ModTime().UnixNano(), 10)} {
		fmt.Fprintf(h, "%d:%s", len(part), part) // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil))[:24], nil
}

// pack makes the artifact at path: in a folder of its own, moved to its place when it is proven.
func (s *start) pack(ctx context.Context, c image.Content, path string) (err error) {
	began := time.Now()
	dir, done, err := makingIn(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("pack %s: %w", c.Ref, err)
	}
	defer func() { err = errors.Join(err, done()) }()
	registry, err := image.Serve(ctx, c, []image.Extra{{Path: corkPath, Mode: 0o755, Source: s.cork}}, image.ServeOptions{
		Dir: dir, Arch: s.arch, Progress: func(e progress.Event) { s.say(e.Line) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	s.say(fmt.Sprintf("packing %s for machines: the first time takes a minute", c.Ref))
	made, err := s.patiently("packing "+c.Ref, func() (string, error) {
		return s.tool.Pack(ctx, smolvm.Pack{
			Image: registry.Ref(), Platform: "linux/" + s.arch, CPUs: packCPUs, Memory: packMemory, Dir: dir,
		})
	})
	if err != nil {
		return err
	}
	a, err := smolvm.ReadArtifact(made)
	if err != nil {
		return err
	}
	if why := s.wrong(a); why != "" {
		return fmt.Errorf("smolvm packed %s, and the artifact is not to be used: %s", c.Ref, why)
	}
	text, err := json.Marshal(about{Ref: c.Ref, Digest: c.Digest, Made: time.Now(), Smolvm: s.version})
	if err == nil {
		err = os.WriteFile(aboutPath(path), text, 0o600)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return fmt.Errorf("keep the packed image: %w", err)
	}
	s.packedAt = path
	s.say(fmt.Sprintf("packed %s in %.1f s", c.Ref, time.Since(began).Seconds()))
	return nil
}

// sayEvery is how often it is said that something is still going on.
const sayEvery = 5 * time.Second

// patiently does what takes its time and says so meanwhile.
func (s *start) patiently(what string, do func() (string, error)) (out string, err error) {
	began, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		out, err = do()
	}()
	t := time.NewTicker(sayEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.say(fmt.Sprintf("%s: %.0f s", what, time.Since(began).Seconds()))
		case <-done:
			return out, err
		}
	}
}

// makingIn makes a folder to make something in, and locks it for as long as its maker lives.
func makingIn(dir string) (path string, done func() error, err error) {
	path, err = os.MkdirTemp(dir, makingPrefix)
	if err != nil {
		return "", nil, err
	}
	f, err := os.Open(path)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(path))
	}
	return path, func() error { return errors.Join(os.RemoveAll(path), f.Close()) }, nil
}

// makerLives reports whether what is made in a folder is still being made.
func makerLives(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // only read
	defer unlock(f)
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// blobOf is the content of files, one after the other.
func blobOf(files []backend.File) []byte {
	var all []byte
	for _, f := range files {
		all = append(all, f.Data...)
	}
	return all
}
