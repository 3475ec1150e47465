//go:build linux

package jail

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Inodes of a temporary folder: each takes kernel memory, so they are bounded also where bytes
// are not.
const (
	inodeBytes = 4096 // one for so many bytes allowed
	minInodes  = 4096
	maxInodes  = 1 << 20
)

// tmpfs mounts a new temporary folder anybody in the bottle may write in.
func (b *builder) tmpfs(target string) error {
	inodes := int64(maxInodes)
	options := [][2]string{{"mode", "1777"}}
	if b.spec.Tmp > 0 {
		options = append(options, [2]string{"size", strconv.FormatInt(b.spec.Tmp, 10)})
		inodes = min(max(b.spec.Tmp/inodeBytes, minInodes), maxInodes)
	}
	options = append(options, [2]string{"nr_inodes", strconv.FormatInt(inodes, 10)})
	t, err := filesystem("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, options...)
	if err != nil {
		return err
	}
	return b.attach(t, target)
}
