package backend

// What of /proc every bottle hides or freezes, on backends that mount one.
var (
	// MaskedFiles and MaskedFolders show the kernel's or the machine's insides, or what other users
	// do. More of them are closed by their modes alone, since nobody in a bottle is the machine's root.
	MaskedFiles   = []string{"kcore", "keys", "key-users", "timer_list", "latency_stats", "sched_debug", "sysrq-trigger", "interrupts"}
	MaskedFolders = []string{"scsi", "acpi", "asound"}
	// FrozenFolders are by which the kernel is configured: they are read-only.
	FrozenFolders = []string{"sys", "bus", "fs", "irq"}
)
