//go:build linux

package confine

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// archAllowed is what arm64 names differently.
func archAllowed() []uint32 { return []uint32{unix.SYS_FSTATAT} }
