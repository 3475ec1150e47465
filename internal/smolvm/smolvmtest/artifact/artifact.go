// Package artifact reads and writes .smolmachine files: a zstd archive of assets, a manifest, and a
// footer that says where they are.
//
//	assets (zstd of a tar) | manifest (JSON) | footer (64 bytes)
//
// The archive holds the layers of an image as tar files, layers/0.tar first. It is written without
// compression, as frames of raw blocks, and only such frames are read: the standard library has no zstd,
// and the stand-in is the only reader of what it writes.
package artifact

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

const (
	magic      = "SMOLPACK"
	footerSize = 64
)

// Manifest describes an artifact. Its fields and their order are smolvm's.
type Manifest struct {
	Mode         string                     `json:"mode"`
	Image        string                     `json:"image"`
	Digest       string                     `json:"digest"`
	Platform     string                     `json:"platform"`
	Entrypoint   []string                   `json:"entrypoint,omitempty"`
	Cmd          []string                   `json:"cmd,omitempty"`
	Env          []string                   `json:"env,omitempty"`
	SecretRefs   map[string]json.RawMessage `json:"secret_refs,omitempty"`
	Workdir      string                     `json:"workdir,omitempty"`
	CPUs         int                        `json:"cpus"`
	Mem          int                        `json:"mem"`
	ImageSize    int64                      `json:"image_size"`
	Network      bool                       `json:"network"`
	GPU          bool                       `json:"gpu"`
	CUDA         bool                       `json:"cuda"`
	HostPlatform string                     `json:"host_platform"`
	Created      string                     `json:"created"`
	Version      string                     `json:"smolvm_version"`
	Assets       Inventory                  `json:"assets"`
}

// Inventory lists what the archive holds.
type Inventory struct {
	Libraries   []Entry `json:"libraries"`
	AgentRootfs Entry   `json:"agent_rootfs"`
	Layers      []Entry `json:"layers"`
}

// Entry is a file of the archive.
type Entry struct {
	Digest string `json:"digest,omitempty"` // of layers only
	Path   string `json:"path"`
	Size   int64  `json:"size"`
}

type footer struct {
	Magic                                                              [8]byte
	Version                                                            uint32
	StubSize, AssetsOffset, AssetsSize, ManifestOffset, ManifestLength uint64
	Checksum                                                           uint32
	_                                                                  [8]byte
}

// Write makes an artifact at path; assets writes the tar archive.
func Write(path string, m Manifest, assets func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	sum := crc32.NewIEEE()
	w := &counter{w: io.MultiWriter(f, sum)}
	z := &rawWriter{w: w}
	if err := assets(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	at := w.n
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	foot := footer{Version: 1, AssetsSize: at, ManifestOffset: at, ManifestLength: uint64(len(b)), Checksum: sum.Sum32()}
	copy(foot.Magic[:], magic)
	return binary.Write(f, binary.LittleEndian, foot)
}

type counter struct {
	w io.Writer
	n uint64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += uint64(n)
	return n, err
}

// Read returns the manifest of an artifact and a reader of its tar archive. The file stays open until
// the reader is closed.
func Read(path string) (Manifest, io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return Manifest{}, nil, err
	}
	m, assets, err := read(f)
	if err != nil {
		_ = f.Close()
		return Manifest{}, nil, err
	}
	return m, struct {
		io.Reader
		io.Closer
	}{&rawReader{r: assets}, f}, nil
}

func read(f *os.File) (m Manifest, assets io.Reader, err error) {
	info, err := f.Stat()
	if err != nil {
		return m, nil, err
	}
	if info.Size() < footerSize {
		return m, nil, errors.New("I/O error: sidecar file too small to contain footer")
	}
	end := uint64(info.Size()) - footerSize
	var foot footer
	if err := binary.Read(io.NewSectionReader(f, int64(end), footerSize), binary.LittleEndian, &foot); err != nil {
		return m, nil, err
	}
	switch {
	case string(foot.Magic[:]) != magic:
		return m, nil, errors.New("invalid magic: expected SMOLPACK")
	case foot.Version < 1 || foot.Version > 3:
		return m, nil, fmt.Errorf("unsupported version: %d", foot.Version)
	case foot.AssetsOffset > end || foot.AssetsSize > end-foot.AssetsOffset,
		foot.ManifestOffset > end || foot.ManifestLength > end-foot.ManifestOffset:
		return m, nil, errors.New("I/O error: footer points outside of the file")
	}
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, int64(end))); err != nil {
		return m, nil, err
	}
	if sum.Sum32() != foot.Checksum {
		return m, nil, fmt.Errorf("checksum mismatch: expected %08x, got %08x", foot.Checksum, sum.Sum32())
	}
	b := make([]byte, foot.ManifestLength)
	if _, err := f.ReadAt(b, int64(foot.ManifestOffset)); err != nil {
		return m, nil, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, nil, fmt.Errorf("JSON error: %w", err)
	}
	return m, io.NewSectionReader(f, int64(foot.AssetsOffset), int64(foot.AssetsSize)), nil
}
