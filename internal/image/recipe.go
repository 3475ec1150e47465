package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Labels of the images built here. An image that somebody builds from one of them inherits both:
// see ours.
const (
	Label    = "claude-bottle.image"
	KeyLabel = "claude-bottle.key"
)

// recipe is how one image comes to be.
type recipe struct {
	key string // stands for everything that goes into it
	tag string // the name it can be started from once get has returned
	// get returns the image, making it when it is not there.
	get func(ctx context.Context) (client.ImageInspectResult, error)
}

// existing is the recipe for what is there already.
func existing(ref string, img client.ImageInspectResult) recipe {
	return recipe{key: img.ID, tag: ref, get: func(context.Context) (client.ImageInspectResult, error) { return img, nil }}
}

// built is the recipe for what build makes, once.
func (m *maker) built(key, what string, build func(ctx context.Context, key string) error) recipe {
	return recipe{key: key, tag: tagOf(key), get: func(ctx context.Context) (client.ImageInspectResult, error) {
		img, err := m.find(ctx, key)
		if !errors.Is(err, errNone) {
			return img, err
		}
		release, err := Lock(ctx, filepath.Join(m.o.Locks, key[:tagDigits]+".lock"), func() {
			m.out.say(fmt.Sprintf("waiting for another launch that is building %s from %s", m.ref, what))
		})
		if err != nil {
			return client.ImageInspectResult{}, fmt.Errorf("image %s: %w", m.ref, err)
		}
		defer release()
		if img, err = m.find(ctx, key); !errors.Is(err, errNone) { // the other launch built it
			return img, err
		}
		if err := build(ctx, key); err != nil {
			return client.ImageInspectResult{}, err
		}
		m.done = true
		if img, err = m.find(ctx, key); errors.Is(err, errNone) {
			err = fmt.Errorf("image %s: the engine built it and does not have it: was it removed at the same time?", m.ref)
		}
		return img, err
	}}
}

// errNone is what find returns for an image that is to be built.
var errNone = errors.New("no such image")

// find returns the image that was built for key.
func (m *maker) find(ctx context.Context, key string) (client.ImageInspectResult, error) {
	img, err := m.API.ImageInspect(ctx, tagOf(key))
	switch {
	case cerrdefs.IsNotFound(err), err == nil && (img.Config == nil || img.Config.Labels[KeyLabel] != key):
		return client.ImageInspectResult{}, errNone
	case err != nil:
		return client.ImageInspectResult{}, m.engineError("look for the image "+m.ref, err)
	}
	return img, nil
}

// point makes Ref name img.
func (m *maker) point(ctx context.Context, img client.ImageInspectResult) error {
	for _, tag := range img.RepoTags {
		if short(tag) == m.ref {
			return nil
		}
	}
	if _, err := m.API.ImageTag(ctx, client.ImageTagOptions{Source: img.ID, Target: m.ref}); err != nil {
		return m.engineError("name the image "+m.ref, err)
	}
	return nil
}

// short is a tag as people write it: engines put their default registry before it.
func short(tag string) string {
	for _, prefix := range []string{"docker.io/library/", "docker.io/", "localhost/"} {
		if rest, ok := strings.CutPrefix(tag, prefix); ok {
			return rest
		}
	}
	return tag
}
