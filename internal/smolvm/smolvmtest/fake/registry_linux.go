package main

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// reference is an image in a registry of this host's loopback, the only kind the stand-in reaches.
type reference struct {
	registry, repository, version string // version is a tag or a digest
}

var referenceForm = regexp.MustCompile(`^((?:127\.[0-9.]+|localhost):[0-9]+)/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`)

// parseReference reads an image's name. smolvm takes names of registries only, never files.
func parseReference(image string) (reference, error) {
	if localImage(image) {
		return reference{}, agentError("pull image", "invalid image reference '%s:latest': could not parse reference", image)
	}
	m := referenceForm.FindStringSubmatch(image)
	switch {
	case m == nil && strings.Contains(image, "127.0.0.1"):
		return reference{}, agentError("pull image", "invalid image reference '%s': could not parse reference", image)
	case m == nil:
		return reference{}, agentError("pull image", "failed to pull image '%s': the stand-in reaches registries at 127.0.0.1:PORT only", image)
	}
	r := reference{m[1], m[2], m[3]}
	if m[4] != "" {
		r.version = m[4]
	}
	if r.version == "" {
		r.version = "latest"
	}
	return r, nil
}

// descriptorJSON names a part of an image.
type descriptorJSON struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	Platform  *struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

// image is what a registry says about one.
type image struct {
	ref    reference
	digest string
	layers []descriptorJSON
	config struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Config       struct {
			Env        []string
			Entrypoint []string
			Cmd        []string
			WorkingDir string
		} `json:"config"`
	}
}

var accept = strings.Join([]string{
	"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
}, ", ")

var registryClient = &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: time.Minute}}

// fetch gets a part of a repository. Loopback registries are spoken to without TLS.
func (r reference) fetch(kind, version string) (io.ReadCloser, error) {
	url := "http://" + r.registry + "/v2/" + r.repository + "/" + kind + "/" + version
	q, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if kind == "manifests" {
		q.Header.Set("Accept", accept)
	}
	a, err := registryClient.Do(q)
	if err != nil {
		return nil, err
	}
	if a.StatusCode != http.StatusOK {
		_ = a.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", url, a.Status)
	}
	return a.Body, nil
}

// small gets a manifest or a config, which must have the digest it was asked for by.
func (r reference) small(kind, version string) (b []byte, digest string, err error) {
	body, err := r.fetch(kind, version)
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	if b, err = io.ReadAll(io.LimitReader(body, 8<<20)); err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(b)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	if strings.HasPrefix(version, "sha256:") && version != digest {
		return nil, "", fmt.Errorf("%s %s has the digest %s", kind, version, digest)
	}
	return b, digest, nil
}

// find asks the registry for the image of a platform.
func (r reference) find(platform string) (*image, error) {
	b, digest, err := r.small("manifests", r.version)
	if err != nil {
		return nil, err
	}
	var m struct {
		Config    descriptorJSON   `json:"config"`
		Layers    []descriptorJSON `json:"layers"`
		Manifests []descriptorJSON `json:"manifests"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	if len(m.Manifests) > 0 {
		i := slices.IndexFunc(m.Manifests, func(d descriptorJSON) bool {
			return d.Platform != nil && d.Platform.OS+"/"+d.Platform.Architecture == platform
		})
		if i < 0 {
			return nil, fmt.Errorf("no child with platform %s", platform)
		}
		r.version = m.Manifests[i].Digest
		return r.find(platform)
	}
	if len(m.Layers) == 0 {
		return nil, errors.New("the image has no layers")
	}
	im := &image{ref: r, digest: digest, layers: m.Layers}
	if b, _, err = r.small("blobs", m.Config.Digest); err != nil {
		return nil, err
	}
	return im, json.Unmarshal(b, &im.config)
}

// save writes a layer, unpacked, to path, and returns its size.
func (im *image) save(layer descriptorJSON, path string) (int64, error) {
	body, err := im.ref.fetch("blobs", layer.Digest)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	sum := sha256.New()
	packed := io.TeeReader(body, sum)
	plain := packed
	switch {
	case strings.HasSuffix(layer.MediaType, "gzip"):
		if plain, err = gzip.NewReader(packed); err != nil {
			return 0, err
		}
	case !strings.HasSuffix(layer.MediaType, "tar"):
		return 0, fmt.Errorf("layer of the kind %s", layer.MediaType)
	}
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, plain)
	if err == nil {
		_, err = io.Copy(io.Discard, packed) // what follows the compressed stream belongs to the digest
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != layer.Digest {
		return 0, fmt.Errorf("layer %s has the digest %s", layer.Digest, got)
	}
	return n, nil
}
