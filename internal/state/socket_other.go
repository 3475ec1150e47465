//go:build !linux

package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// maxSocketPath is what the smallest sockaddr_un among the BSDs holds, less the closing zero.
const maxSocketPath = 103

// shorten returns a name for the socket at path that the kernel accepts: a private folder in /tmp
// with one name for each long path.
func shorten(path string) (short string, done func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir := fmt.Sprintf("/tmp/claude-bottle-%d", os.Getuid())
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, err
	}
	if err := private(dir); err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256([]byte(path))
	return dir + "/" + hex.EncodeToString(sum[:12]), func() {}, nil
}
