//go:build linux

package jail

import (
	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
)

// hole is a part of the host that only leaky builds show; see package leak.
type hole struct {
	tree   tree
	target string
}

// openHoles opens what the leaky build was told to show. In any other build all conditions are
// constant and nothing of this is compiled in.
func (b *builder) openHoles() error {
	add := func(path, target string, attrs uint64) error {
		t, err := clone(unix.AT_FDCWD, path, attrs)
		if err == nil {
			b.holes = append(b.holes, hole{t, target})
		}
		return err
	}
	if leak.On("host-root") {
		if err := add("/", "/host", frozen); err != nil {
			return err
		}
	}
	if leak.On("sys-writable") {
		if err := add("/sys", "/sys", shown); err != nil {
			return err
		}
	}
	if leak.On("docker-sock") {
		if err := add(leak.Value("docker-sock"), "/run/docker.sock", shown); err != nil {
			return err
		}
	}
	for _, name := range []string{"home-visible", "show"} {
		if leak.On(name) {
			if err := add(leak.Value(name), leak.Value(name), unix.MOUNT_ATTR_NOSUID); err != nil {
				return err
			}
		}
	}
	return nil
}

// attachHoles puts them in place.
func (b *builder) attachHoles() error {
	for i, h := range b.holes {
		b.holes[i].tree = -1
		if err := b.attach(h.tree, h.target); err != nil {
			return err
		}
	}
	return nil
}
