package manifest

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
)

//go:embed starter
var starterFiles embed.FS

// Starter returns a first agent and bottle, commented and valid, by slash-separated path below the
// manifests' folder.
func Starter() map[string][]byte {
	out := map[string][]byte{}
	for _, name := range []string{"agents/helper.md", "bottles/default.md"} {
		b, err := starterFiles.ReadFile(path.Join("starter", name))
		if err != nil {
			panic("manifest: " + err.Error()) // built in: the names above are wrong
		}
		out[name] = b
	}
	return out
}

// WriteStarter writes the starter pair below dir (~/.claude-bottle, made when missing, for the owner
// alone) and the schemas its files point editors at. It returns the absolute paths of the manifests
// it wrote. A manifest that exists is left as it is; a schema is ours and gets renewed.
func WriteStarter(dir string) ([]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("write the starter manifests: %w", err)
	}
	if err := WriteSchemas(dir); err != nil {
		return nil, err
	}
	files := Starter()
	var written []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p := filepath.Join(dir, filepath.FromSlash(name))
		switch err := create(p, files[name]); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return written, fmt.Errorf("write the starter manifests: %w", err)
		default:
			written = append(written, p)
		}
	}
	return written, nil
}

// WriteSchemas writes dir/schema/agent.json, bottle.json and preset.json, replacing what is there.
func WriteSchemas(dir string) error {
	for _, kind := range []Kind{KindAgent, KindBottle, KindPreset} {
		b, err := Schema(kind)
		if err != nil {
			return err
		}
		p := filepath.Join(dir, "schema", string(kind)+".json")
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("renew a schema: %w", err)
		}
		if err := create(p, b); err != nil && !errors.Is(err, fs.ErrExist) { // another process renewed it
			return fmt.Errorf("write a schema: %w", err)
		}
	}
	return nil
}

// create writes a file that must not exist yet, and the folders above it.
func create(p string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(p)) // half a manifest would stop every launch
	}
	return nil
}
