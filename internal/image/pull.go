package image

import (
	"context"
	"fmt"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/client"
)

// present returns the image ref, pulling it when the engine does not have it. Other is what else
// the operator could do, for the hint.
func (m *maker) present(ctx context.Context, ref, other string) (client.ImageInspectResult, error) {
	if _, err := reference.ParseAnyReference(ref); err != nil {
		return client.ImageInspectResult{}, &Error{Why: fmt.Sprintf("%s is no name of an image: %v", clean(ref), err), Fix: other, Err: err}
	}
	img, err := m.API.ImageInspect(ctx, ref)
	if cerrdefs.IsNotFound(err) {
		if err := m.pull(ctx, ref, other); err != nil {
			return client.ImageInspectResult{}, err
		}
		img, err = m.API.ImageInspect(ctx, ref)
	}
	if err != nil {
		return client.ImageInspectResult{}, m.engineError("look for the image "+ref, err)
	}
	return img, nil
}

func (m *maker) pull(ctx context.Context, ref, other string) error {
	m.out.say("pulling " + ref)
	res, err := m.API.ImagePull(ctx, ref, client.ImagePullOptions{RegistryAuth: login(m.o.DockerConfig, ref)})
	failure := ""
	if err == nil {
		err = messages(res, func(msg message) {
			switch {
			case msg.failure() != "":
				failure = clean(msg.failure())
			case strings.Contains(string(msg.Progress), "current"): // a bar: many a second
			case msg.ID != "":
				m.out.say(clean(msg.ID + ": " + msg.Status))
			case msg.Status+msg.Stream != "":
				m.out.say(clean(msg.Status + msg.Stream))
			}
		})
		_ = res.Close() // it was only read
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("pull %s: %w", ref, context.Cause(ctx))
	case failure == "" && err == nil:
		return nil
	case err != nil && lost(err), strings.Contains(failure, "no space left on device"):
		if err == nil {
			err = fmt.Errorf("%s", failure)
		}
		return m.engineError("pull "+ref, err)
	case failure == "":
		failure = clean(err.Error())
	}
	return &Error{
		Why: fmt.Sprintf("the engine does not have the image %s and can't pull it: %s", ref, failure),
		Fix: fmt.Sprintf("%s pull %s, where you are logged in or can see why; or %s", m.Kind, ref, other),
		Err: err,
	}
}
