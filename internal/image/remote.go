package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/moby/moby/api/pkg/authconfig"
)

// Remote is an image in a registry, for linux/arch. It uses the login for it that dockerConfig, a
// Docker client's config.json, holds; empty, or a file that isn't there, for none. Registries
// speak HTTPS, but for those on loopback. Nothing is pulled before Serve.
func Remote(ctx context.Context, ref, arch, dockerConfig string) (Content, error) {
	named, err := name.ParseReference(ref)
	if err != nil {
		return Content{}, &Error{Why: fmt.Sprintf("%s is no name of an image: %s", clean(ref), clean(err.Error())), Fix: "name an image as docker pull would take it", Err: err}
	}
	r := &remoteImage{ref: ref, registry: named.Context().RegistryStr(), auth: authn.Anonymous}
	if named.Context().RegistryStr() == name.DefaultRegistry {
		r.registry = "docker.io"
	}
	if header := login(dockerConfig, ref); header != "" {
		a, err := authconfig.Decode(header)
		if err != nil {
			return Content{}, fmt.Errorf("the stored login for %s can't be used", r.registry)
		}
		r.auth = authn.FromConfig(authn.AuthConfig{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken})
	}
	c, err := r.find(ctx, named, arch)
	if err != nil {
		if ctx.Err() != nil {
			return Content{}, fmt.Errorf("image %s: %w", ref, context.Cause(ctx))
		}
		return Content{}, r.error(err)
	}
	return c, nil
}

// remoteImage is an image in a registry.
type remoteImage struct {
	ref, registry string
	auth          authn.Authenticator
}

func (r *remoteImage) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuth(r.auth), remote.WithUserAgent("claude-bottle"),
		remote.WithTransport(guarded{remote.DefaultTransport}),
	}
}

func (r *remoteImage) find(ctx context.Context, named name.Reference, arch string) (Content, error) {
	desc, err := remote.Get(named, r.options(ctx)...)
	if err != nil {
		return Content{}, err
	}
	exact := named.Context().Digest(desc.Digest.String())
	if desc.MediaType.IsIndex() {
		index, err := v1.ParseIndexManifest(strings.NewReader(string(desc.Manifest)))
		if err != nil {
			return Content{}, damaged(r.ref, err)
		}
		images, _ := candidates(index)
		chosen, err := choose(images, r.ref, arch)
		if err != nil {
			return Content{}, err
		}
		exact = named.Context().Digest(chosen.manifest.String())
	}
	img, err := remote.Image(exact, r.options(ctx)...)
	if err != nil {
		return Content{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return Content{}, err
	}
	layers, err := img.Layers()
	if err != nil {
		return Content{}, err
	}
	if err := check(r.ref, arch, config, len(layers)); err != nil {
		return Content{}, err
	}
	hash, err := img.ConfigName()
	if err != nil {
		return Content{}, err
	}
	c := fromConfig(r.ref, hash.String(), config)
	c.open = func(ctx context.Context, s *supply) (*layered, error) {
		l, err := r.pull(ctx, s, exact, config)
		if err != nil && ctx.Err() == nil {
			return nil, r.error(err)
		}
		return l, err
	}
	return c, nil
}

// pull brings the layers onto the disk, one behind the other in one file.
func (r *remoteImage) pull(ctx context.Context, s *supply, exact name.Digest, config *v1.ConfigFile) (_ *layered, err error) {
	img, err := remote.Image(exact, r.options(ctx)...)
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var total int64
	for _, l := range layers {
		size, err := l.Size()
		if err != nil {
			return nil, err
		}
		total += size
	}
	s.need += total
	f, err := s.scratch()
	if err != nil {
		return nil, err
	}
	out := &layered{config: config, close: func() { _ = f.Close() }} // it goes with it
	defer func() {
		if err != nil {
			out.close()
		}
	}()
	all := s.meter(ctx, nil, "pulling", total)
	var at int64
	for _, l := range layers {
		n, err := r.fetch(s, f, all, l)
		if err != nil {
			return nil, err
		}
		out.layers = append(out.layers, io.NewSectionReader(f, at, n))
		at += n
	}
	return out, nil
}

// fetch appends one layer to f. The library checks it against its digest.
func (r *remoteImage) fetch(s *supply, f *os.File, m *meter, l v1.Layer) (int64, error) {
	body, err := l.Compressed()
	if err != nil {
		return 0, err
	}
	defer body.Close()
	m.r = body
	return s.append(f, m)
}

// error puts what a registry answered, or that it did not, into words.
func (r *remoteImage) error(err error) error {
	if _, ours := errorOf(err); ours {
		return err
	}
	text := clean(err.Error())
	refused, answered := errors.AsType[*transport.Error](err)
	switch {
	case answered && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden || refused.StatusCode == http.StatusTooManyRequests):
		who := "anybody"
		if r.auth != authn.Anonymous {
			who = "the stored login"
		}
		return &Error{
			Why: fmt.Sprintf("the registry %s does not give %s to %s: %s", r.registry, r.ref, who, text),
			Fix: fmt.Sprintf("docker login %s, then give the same command again; a login that a credential helper keeps is not seen here: docker pull and docker save are then the way", r.registry),
			Err: err,
		}
	case answered && refused.StatusCode == http.StatusNotFound:
		return &Error{
			Why: fmt.Sprintf("the registry %s has no image %s: %s", r.registry, r.ref, text),
			Fix: "correct the name; some registries say this of images that need a login", Err: err,
		}
	case answered:
		return fmt.Errorf("the registry %s does not give %s: %s", r.registry, r.ref, text)
	}
	return &Error{
		Why: fmt.Sprintf("the image %s can't be read from the registry %s: %s", r.ref, r.registry, text),
		Fix: "see that this host reaches the registry, then give the same command again", Err: err,
	}
}

// guarded sends nothing in the clear but to this host. The library would fall back to plain HTTP
// for private networks, logins included.
type guarded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	host := r.URL.Hostname()
	ip := net.ParseIP(host)
	if r.URL.Scheme != "https" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s speaks plain HTTP, and is not on this host", r.URL.Host)
	}
	return g.RoundTripper.RoundTrip(r)
}
