package smolmachines

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/client"
)

// smallName is an image with a shell and a few programs of this host's: what tests need that are about
// machines and not about systems.
const smallName = "claude-bottle-small-smolmachines:test"

var smallImage = sync.OnceValue(func() error {
	system, err := smallSystem()
	if err != nil {
		return err
	}
	api, err := client.New(client.WithHost(os.Getenv(engineVariable)))
	if err != nil {
		return err
	}
	defer api.Close()
	r, err := api.ImageImport(context.Background(), client.ImageImportSource{Source: bytes.NewReader(system), SourceName: "-"}, smallName, client.ImageImportOptions{})
	if err != nil {
		return err
	}
	var said bytes.Buffer
	_, err = said.ReadFrom(r)
	return errors.Join(err, r.Close())
})

// small is that image, in the engine. It stays there, as the base does: the engine is the tests'.
func small(t *testing.T) string {
	t.Helper()
	if err := smallImage(); err != nil {
		t.Fatal(err)
	}
	return smallName
}

var library = regexp.MustCompile(`(/\S+) \(0x`)

// smallSystem is a tar of programs with the libraries they are linked to.
func smallSystem() ([]byte, error) {
	files := []string{}
	for _, name := range []string{"sh", "cat", "head", "sleep", "true", "id"} {
		path, err := exec.LookPath(name)
		if err != nil {
			return nil, err
		}
		links, err := exec.Command("ldd", path).CombinedOutput()
		if err != nil {
			return nil, errors.Join(err, errors.New(string(links)))
		}
		files = append(files, path)
		for _, m := range library.FindAllStringSubmatch(string(links), -1) {
			files = append(files, m[1])
		}
	}
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for _, dir := range []string{"bin/", "etc/", "tmp/", "var/", "usr/", "usr/bin/"} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	slices.Sort(files)
	for _, path := range slices.Compact(files) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		names := []string{path}
		if dir := filepath.Dir(path); dir == "/usr/bin" || dir == "/bin" {
			names = []string{"/bin/" + filepath.Base(path), "/usr/bin/" + filepath.Base(path)}
		}
		for _, name := range names {
			err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(name, "/"), Mode: 0o755, Size: int64(len(text))})
			if err == nil {
				_, err = tw.Write(text)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return out.Bytes(), tw.Close()
}
