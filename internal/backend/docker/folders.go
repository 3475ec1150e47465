package docker

import (
	"context"

	"github.com/moby/moby/api/types/mount"
)

// folders are a bottle's mounts and files as its container gets them.
type folders interface {
	// mounts go into the container's description.
	mounts() []mount.Mount
	// label marks the container with what must be undone should we die.
	label(map[string]string) error
	// fill is called when the container exists and does not run yet.
	fill(ctx context.Context) error
	// settle is called when nothing runs in the container any more, before it is removed: what the
	// agent left goes to where it belongs on this host.
	settle(ctx context.Context) error
}
