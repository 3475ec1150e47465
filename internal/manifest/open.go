package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FolderName is the folder manifests live in, in the operator's home and in a repository.
const FolderName = ".claude-bottle"

// Open loads the manifests under home (the operator's ~/.claude-bottle, which need not exist) and
// under dir/.claude-bottle. In home the operator may use links as they like; a repository's tree
// can't be left through one. Nothing stays open.
func Open(home, dir string) (*Manifest, error) {
	own := os.DirFS(home)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	defer root.Close() // opened for reading: nothing can be lost
	repoPath := filepath.Join(dir, FolderName)
	fi, err := root.Lstat(FolderName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Load(own, home, nil, ""), nil
	case err != nil:
		return nil, fmt.Errorf("read manifests: %w", err)
	case isFolder(home, fi):
		return Load(own, home, nil, ""), nil // standing in the home folder itself
	case !fi.IsDir():
		m := Load(own, home, nil, "")
		m.warnings = append(m.warnings, Warning{repoPath, "ignored: in a repository this must be a folder, not a link"})
		return m, nil
	}
	repo, err := root.OpenRoot(FolderName)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	defer repo.Close() // as above
	return Load(own, home, repo.FS(), repoPath), nil
}

// isFolder reports whether path is the folder fi describes.
func isFolder(path string, fi fs.FileInfo) bool {
	own, err := os.Stat(path)
	return err == nil && os.SameFile(own, fi)
}
