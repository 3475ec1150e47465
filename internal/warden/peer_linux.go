package warden

import "golang.org/x/sys/unix"

// credOf returns the user at the other end of the unix socket fd.
func credOf(fd int) (uid uint32, err error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
