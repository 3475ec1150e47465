package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// parts are what an archive says that an image consists of.
type parts struct {
	config *v1.ConfigFile
	digest string
	layers []string // names of files
}

// take opens the layers. It takes files over, also on error.
func (p *parts) take(f files, ref string) (*layered, error) {
	l := &layered{config: p.config, close: f.close}
	for _, name := range p.layers {
		part, err := f.open(name)
		if err != nil {
			f.close()
			return nil, damaged(ref, fmt.Errorf("a layer is missing: %w", err))
		}
		l.layers = append(l.layers, part)
	}
	return l, nil
}

func damaged(ref string, err error) error {
	return &Error{Why: fmt.Sprintf("the image %s is damaged: %s", ref, clean(err.Error())), Fix: "write or pull it again", Err: err}
}

// fromFiles finds the image for linux/arch in an archive.
func fromFiles(f files, ref, arch string) (*parts, error) {
	var found []candidate
	err := inIndex(f, "index.json", 0, &found)
	if errors.Is(err, fs.ErrNotExist) && len(found) == 0 {
		found, err = inManifest(f)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(found) == 0:
		return nil, &Error{
			Why: fmt.Sprintf("%s is no image archive: it has neither index.json nor manifest.json", ref),
			Fix: "write one with: docker save -o FILE IMAGE", Err: err,
		}
	case err != nil:
		return nil, damaged(ref, err)
	}
	c, err := choose(found, ref, arch)
	if err != nil {
		return nil, err
	}
	p := &parts{config: c.config, digest: c.digest, layers: c.layers}
	if c.config == nil {
		if p, err = inOCI(f, c.manifest); err != nil {
			return nil, damaged(ref, err)
		}
	}
	return p, check(ref, arch, p.config, len(p.layers))
}

// check refuses a configuration that is for something else, or doesn't go with its layers.
func check(ref, arch string, config *v1.ConfigFile, layers int) error {
	if has := config.Platform(); has == nil || has.OS != "linux" || has.Architecture != arch {
		word := "no platform that it tells"
		if has != nil {
			word = has.OS + "/" + has.Architecture
		}
		return wrongArch(ref, arch, []string{word})
	}
	if n := len(config.RootFS.DiffIDs); n != layers || n > layersMax {
		return damaged(ref, fmt.Errorf("it has %d layers, and its configuration speaks of %d", layers, n))
	}
	return nil
}

// candidate is one image of an archive, or of an index in a registry.
type candidate struct {
	name     string // that it goes by there; empty for none
	platform v1.Platform
	manifest v1.Hash // its digest, or
	parts            // itself
}

// choose takes the one candidate for linux/arch.
func choose(all []candidate, ref, arch string) (candidate, error) {
	var fit []candidate
	var has []string
	for _, c := range all {
		if c.platform.OS == "linux" && c.platform.Architecture == arch {
			fit = append(fit, c)
		}
		has = append(has, c.platform.OS+"/"+c.platform.Architecture)
	}
	switch {
	case len(all) == 0:
		return candidate{}, damaged(ref, errors.New("there is no image in it"))
	case len(fit) == 0:
		return candidate{}, wrongArch(ref, arch, has)
	}
	best, names, alike := fit[0], []string{}, 0
	for _, c := range fit {
		if c.platform.Variant == "" && best.platform.Variant != "" {
			best = c // the plain one runs everywhere
		}
		if c.platform.Variant == fit[0].platform.Variant {
			alike++
			names = append(names, c.name)
		}
	}
	if alike > 1 {
		return candidate{}, &Error{
			Why: fmt.Sprintf("%s holds %d images: %s", ref, alike, clean(strings.Join(names, ", "))),
			Fix: "write an archive with one of them: docker save -o FILE IMAGE",
		}
	}
	return best, nil
}

// candidates are the images that an index names itself, without those that are none; and the
// indexes it names.
func candidates(index *v1.IndexManifest) (images []candidate, indexes []v1.Descriptor) {
	for _, d := range index.Manifests {
		name := d.Annotations["io.containerd.image.name"]
		if name == "" {
			name = d.Annotations["org.opencontainers.image.ref.name"]
		}
		c := candidate{name: name, manifest: d.Digest}
		if d.Platform != nil {
			c.platform = *d.Platform
		}
		switch {
		case d.MediaType.IsIndex():
			indexes = append(indexes, d)
		case d.MediaType.IsImage() && c.platform.OS != "unknown": // as BuildKit's attestations have
			images = append(images, c)
		}
	}
	return images, indexes
}

// inIndex adds the images of an OCI index and those of the indexes in it.
func inIndex(f files, name string, depth int, found *[]candidate) error {
	text, err := readPart(f, name)
	if err != nil {
		return err
	}
	index, err := v1.ParseIndexManifest(strings.NewReader(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	images, indexes := candidates(index)
	for _, c := range images {
		if c.platform.OS == "" { // said in the configuration alone
			p, err := inOCI(f, c.manifest)
			if err != nil {
				return err
			}
			c.platform, c.parts = v1.Platform{OS: p.config.OS, Architecture: p.config.Architecture, Variant: p.config.Variant}, *p
		}
		known := false
		for _, other := range *found {
			known = known || other.manifest == c.manifest // the same image by another name
		}
		if !known {
			*found = append(*found, c)
		}
		if len(*found) > layersMax {
			return errors.New("it has too many images")
		}
	}
	for _, d := range indexes {
		if depth == nestedMax {
			return errors.New("its indexes are too deep")
		}
		// Engines leave out what they don't have themselves.
		if err := inIndex(f, blobName(d.Digest), depth+1, found); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// inOCI reads one image of an OCI layout.
func inOCI(f files, manifest v1.Hash) (*parts, error) {
	text, err := readPart(f, blobName(manifest))
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(strings.NewReader(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", manifest, err)
	}
	p, err := configured(f, blobName(m.Config.Digest))
	if err != nil {
		return nil, err
	}
	if p.digest != m.Config.Digest.String() {
		return nil, fmt.Errorf("%s is another file than its name says", m.Config.Digest)
	}
	for _, l := range m.Layers {
		if !l.MediaType.IsLayer() && l.MediaType != types.MediaType("application/vnd.oci.image.layer.v1.tar+zstd") {
			return nil, fmt.Errorf("a layer is of the kind %q", l.MediaType)
		}
		p.layers = append(p.layers, blobName(l.Digest))
	}
	return p, nil
}

// inManifest reads what old Dockers write.
func inManifest(f files) ([]candidate, error) {
	text, err := readPart(f, "manifest.json")
	if err != nil {
		return nil, err
	}
	var list []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	if len(list) > layersMax {
		return nil, errors.New("it has too many images")
	}
	var found []candidate
	for _, m := range list {
		p, err := configured(f, m.Config)
		if err != nil {
			return nil, err
		}
		p.layers = m.Layers
		found = append(found, candidate{
			name:     strings.Join(m.RepoTags, " "),
			platform: v1.Platform{OS: p.config.OS, Architecture: p.config.Architecture, Variant: p.config.Variant}, parts: *p,
		})
	}
	return found, nil
}

// configured reads a configuration, as parts without layers.
func configured(f files, name string) (*parts, error) {
	text, err := readPart(f, name)
	if err != nil {
		return nil, err
	}
	config, err := v1.ParseConfigFile(strings.NewReader(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &parts{config: config, digest: digestOfBytes(text)}, nil
}

func readPart(f files, name string) ([]byte, error) {
	part, err := f.open(name)
	if err != nil {
		return nil, err
	}
	if part.Size() > jsonMax {
		return nil, fmt.Errorf("%s has more than %d MiB", name, jsonMax>>20)
	}
	text := make([]byte, part.Size())
	if _, err := part.ReadAt(text, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}
