package backendtest

import "golang.org/x/sys/unix"

// archCalls are what only this architecture has: port access, and the numbers of its x32 ABI.
func archCalls(page uintptr) []call {
	const x32 = 0x40000000
	return []call{
		{"iopl", unix.SYS_IOPL, [6]uintptr{3}},
		{"ioperm", unix.SYS_IOPERM, [6]uintptr{0, 1, 1}},
		{"modify_ldt", unix.SYS_MODIFY_LDT, [6]uintptr{0, page, 64}},
		{"x32 getpid", x32 + unix.SYS_GETPID, [6]uintptr{}},
		{"x32 mount", x32 + unix.SYS_MOUNT, [6]uintptr{}},
	}
}
