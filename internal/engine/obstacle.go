package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Obstacle says, by file reads alone, why the engine at w can't be used by this user and what to
// type; both are empty when nothing is known to stand in the way, as with an engine elsewhere.
func (w Where) Obstacle() (why, fix string) {
	a, err := parseAddress(w.Host, w.TLS != nil)
	if err != nil {
		return err.Error(), "see which engines docker knows with: docker context ls"
	}
	if a.scheme != "unix" {
		return "", ""
	}
	info, err := os.Stat(a.path)
	var e *Error
	switch {
	case errors.Is(err, fs.ErrPermission):
		e = denied(w, nil)
	case err != nil:
		e = notRunning(w, "there is no such socket")
	case info.Mode().Type() != fs.ModeSocket:
		e = &Error{Reason: BadSetting, Where: w, text: "that is no socket", hint: "see which engines docker knows with: docker context ls"}
	case unix.Access(a.path, unix.W_OK) != nil:
		e = denied(w, info)
	default:
		return "", ""
	}
	return e.Error(), e.Hint()
}

// notRunning is the error of an address where nothing listens.
func notRunning(w Where, text string) *Error {
	e := &Error{Reason: NotRunning, Where: w, text: text}
	switch a, err := parseAddress(w.Host, w.TLS != nil); {
	case err != nil || a.scheme != "unix":
		e.hint = "is it running, and does it listen there? Choose another with DOCKER_HOST or: docker context use NAME"
	case runtime.GOOS != "linux":
		e.hint = "start Docker Desktop, Colima or podman machine"
	default:
		e.hint = "start it: sudo systemctl start docker (rootless: systemctl --user start docker, Podman: systemctl --user start podman.socket)\n" +
			"or name another with DOCKER_HOST or: docker context use NAME"
	}
	return e
}

// denied is the error of a socket this user may not write to; info is the socket's, nil where even
// its folder is closed.
func denied(w Where, info fs.FileInfo) *Error {
	e := &Error{Reason: Denied, Where: w, text: "permission denied on the socket"}
	const rootless = "a rootless engine of your own: dockerd-rootless-setuptool.sh install, or systemctl --user start podman.socket"
	group := ownGroup(info)
	switch {
	case group == nil:
		e.hint = "only root may use it; use " + rootless
	case member(group):
		e.text += fmt.Sprintf(": you are in group %s, but not since you logged in", group.Name)
		e.hint = "log out and in again, or type: newgrp " + group.Name
	default:
		e.hint = fmt.Sprintf("join its group: sudo usermod -aG %s $USER, then log out and in again (that group is as good as root)\nor use %s", group.Name, rootless)
	}
	return e
}

// ownGroup is the group that may write to the socket, nil where that is root's own or nobody's.
func ownGroup(info fs.FileInfo) *user.Group {
	if info == nil || info.Mode().Perm()&0o020 == 0 {
		return nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Gid == 0 {
		return nil
	}
	group, err := user.LookupGroupId(strconv.FormatUint(uint64(st.Gid), 10))
	if err != nil {
		return nil
	}
	return group
}

// member reports whether the system's files put this user into group, whatever groups this process
// was started with.
func member(group *user.Group) bool {
	me, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		return false
	}
	ids, err := me.GroupIds()
	return err == nil && slices.Contains(ids, group.Gid)
}
