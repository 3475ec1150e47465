package image_test

import "golang.org/x/sys/unix"

func mountSmall(at string) error { return unix.Mount("tmpfs", at, "tmpfs", 0, "size=1m") }

func unmountSmall(at string) error { return unix.Unmount(at, unix.MNT_DETACH) }
