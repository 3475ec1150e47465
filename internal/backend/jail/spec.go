// Package jail builds the file system of a bottle and moves the calling process into it:
// the host's programs or a system of its own, read-only, an /etc, /dev, /proc and /tmp of its own, and
// the mounts and files of the bottle's Spec. Of a host, whatever is not named here is not there.
//
// It runs in the bottle's first process, in new mount, pid, ipc and uts namespaces, and on a host in a
// new user namespace too, before anything of the agent exists. What it reads is the host's; nothing it
// writes is on the host, but for the places mounts need inside writable ones.
package jail

import "io/fs"

// Spec says what the jail is to hold. It is sent from the holder to cork as JSON.
type Spec struct {
	Hostname string
	// Whole shows all of the root file system the process is in, which is then the bottle's own and
	// nobody else's: files are written to it and places made in it before it becomes read-only.
	// Else the programs of a host are shown, and nothing of it is written to.
	Whole bool
	// Mounts in the order they are put in place: parents before children.
	Mounts []Mount
	// Files are the bottle's own, their content one after the other in the blob given to Build.
	Files []File
	// Tmp bounds each of the private temporary folders, in bytes; 0 is the kernel's default.
	Tmp int64
	// UID and GID own what the agent is to own, as the bottle sees them.
	UID, GID int
}

// Mount is a folder or file to show. It comes as the next of Build's trees when Passed, else the
// jail opens Source itself.
type Mount struct {
	Source   string
	Target   string
	Writable bool
	Passed   bool
}

// File is a small file that nobody in the bottle may change.
type File struct {
	Path string
	Mode fs.FileMode
	Size int64 // of its part of the blob
}
