package smolvm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// packLimit bounds the packing of an image: a machine is booted that pulls and exports it.
const packLimit = 30 * time.Minute

// ArtifactSuffix ends the name of an artifact.
const ArtifactSuffix = ".smolmachine"

// Pack is an image to be packed.
type Pack struct {
	Image    string // a reference in a registry: nothing else is taken
	Platform string // "linux/amd64"
	CPUs     int
	Memory   int // MiB
	// Dir is an empty folder for what is in the making; the artifact is there in the end.
	Dir string
}

// Pack packs an image and returns the path of the artifact in p.Dir.
func (t Tool) Pack(ctx context.Context, p Pack) (string, error) {
	out := filepath.Join(p.Dir, "packed")
	staging := filepath.Join(p.Dir, "staging")
	if err := os.Mkdir(staging, 0o700); err != nil {
		return "", err
	}
	_, err := t.run(ctx, packLimit, "pack", "create", "--image", p.Image, "--output", out, "--oci-platform", p.Platform,
		"--cpus", strconv.Itoa(p.CPUs), "--mem", strconv.Itoa(p.Memory), "--staging-dir", staging)
	if err != nil {
		return "", errors.Join(err, t.endStrays())
	}
	// Beside the artifact there is a program that would run it, which nobody wants.
	if err := os.Remove(out); err != nil && !os.IsNotExist(err) {
		return "", err
	}
	return out + ArtifactSuffix, os.RemoveAll(staging)
}

// endStrays ends the machine that a packing which broke off has left: smolvm ends it only when it is not
// killed itself.
func (t Tool) endStrays() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	strays, err := t.Strays(ctx)
	for _, s := range strays {
		err = errors.Join(err, s.End(ctx))
	}
	return err
}

// Artifact is what a packed image says about itself.
type Artifact struct {
	Platform   string   `json:"platform"`
	Network    bool     `json:"network"`
	CPUs       int      `json:"cpus"`
	Memory     int      `json:"mem"` // MiB
	Version    string   `json:"smolvm_version"`
	Image      string   `json:"image"`
	Digest     string   `json:"digest"`
	SecretRefs any      `json:"secret_refs"`
	Env        []string `json:"env"`
}

// Footer of an artifact (smolvm, crates/smolvm-pack/src/format.rs): all numbers little endian.
const (
	footerSize    = 64
	footerMagic   = "SMOLPACK"
	maxManifest   = 4 << 20
	footerNumbers = 8 + 4 // where the sizes begin, behind magic and version
)

// ReadArtifact reads what an artifact says about itself, from its footer and the manifest that it
// points to. Anybody may have written the file: nothing in it is believed that does not fit.
func ReadArtifact(path string) (Artifact, error) {
	f, err := os.Open(path)
	if err != nil {
		return Artifact{}, err
	}
	defer f.Close() // only read
	st, err := f.Stat()
	if err != nil {
		return Artifact{}, err
	}
	a, err := readArtifact(f, st.Size())
	if err != nil {
		return Artifact{}, fmt.Errorf("%s is no whole artifact: %w", path, err)
	}
	return a, nil
}

func readArtifact(r io.ReaderAt, size int64) (a Artifact, err error) {
	if size < footerSize {
		return a, fmt.Errorf("it has %d bytes", size)
	}
	var foot [footerSize]byte
	if _, err := r.ReadAt(foot[:], size-footerSize); err != nil {
		return a, err
	}
	if string(foot[:8]) != footerMagic {
		return a, fmt.Errorf("it does not end in a footer")
	}
	// stub size, assets offset and size, manifest offset and size
	var n [5]uint64
	for i := range n {
		n[i] = binary.LittleEndian.Uint64(foot[footerNumbers+8*i:])
	}
	end := uint64(size - footerSize)
	for _, part := range [][2]uint64{{n[1], n[2]}, {n[3], n[4]}} {
		if part[0] > end || part[1] > end-part[0] {
			return a, fmt.Errorf("its footer points behind its end")
		}
	}
	if n[4] > maxManifest {
		return a, fmt.Errorf("its manifest has %d bytes", n[4])
	}
	text := make([]byte, n[4])
	if _, err := r.ReadAt(text, int64(n[3])); err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("its manifest: %w", err)
	}
	return a, nil
}
