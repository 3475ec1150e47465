package warden

import "golang.org/x/sys/unix"

// credOf returns the user at the other end of the unix socket fd.
func credOf(fd int) (uid uint32, err error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
