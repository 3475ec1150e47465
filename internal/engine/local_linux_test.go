package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"
)

// hereInfo is what an engine on this host says.
func hereInfo(t *testing.T) system.Info {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return system.Info{KernelVersion: unix.ByteSliceToString(u.Release[:]), Name: unix.ByteSliceToString(u.Nodename[:]), DockerRootDir: t.TempDir()}
}

// An engine behind a local socket is local only when everything speaks for it.
func TestLocalWhenNothingSpeaksAgainstIt(t *testing.T) {
	t.Parallel()
	here := hereInfo(t)
	socket := address{scheme: "unix", path: "/x"}
	local := func(a address, change func(*system.Info)) bool {
		info := here
		change(&info)
		var i Info
		i.settle(a, info)
		if i.SharesUsers && !i.Local {
			t.Errorf("shares users from afar: %+v", i)
		}
		return i.Local
	}
	if !local(socket, func(*system.Info) {}) {
		t.Error("the engine here is not local")
	}
	for name, change := range map[string]func(*system.Info){
		"another kernel":            func(i *system.Info) { i.KernelVersion = "6.10.14-linuxkit" },
		"another host name":         func(i *system.Info) { i.Name = "elsewhere" },
		"Docker Desktop on WSL":     func(i *system.Info) { i.OperatingSystem = "Docker Desktop" },
		"Rancher Desktop on WSL":    func(i *system.Info) { i.OperatingSystem = "Rancher Desktop WSL Distribution" },
		"a folder that is not here": func(i *system.Info) { i.DockerRootDir += "/missing" },
		"no folder":                 func(i *system.Info) { i.DockerRootDir = "" },
	} {
		if local(socket, change) {
			t.Errorf("%s: taken for local", name)
		}
	}
	for _, a := range []address{{scheme: "tcp", host: "127.0.0.1"}, {scheme: "ssh", host: "localhost"}} {
		if local(a, func(*system.Info) {}) {
			t.Errorf("%s is taken for local", a)
		}
	}
}

// A folder that this user may not look into is no sign of another file system.
func TestLocalWhereTheEnginesFolderIsHidden(t *testing.T) {
	t.Parallel()
	here := hereInfo(t)
	hidden := here.DockerRootDir
	here.DockerRootDir = filepath.Join(hidden, "data")
	if err := os.Chmod(hidden, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(hidden, 0o700) }) // to be removed
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its rights
		if os.Geteuid() == 0 {
			_ = unix.Setfsuid(65534) // says nothing; what follows does
		}
		if _, err := os.Stat(here.DockerRootDir); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("the folder is not hidden: %v", err)
		}
		var i Info
		if i.settle(address{scheme: "unix"}, here); !i.Local {
			t.Error("the engine here is not local")
		}
	}()
	<-done
}

func TestUsersAreSharedUnlessMapped(t *testing.T) {
	t.Parallel()
	here := hereInfo(t)
	for _, i := range []Info{{}, {Rootless: true}, {UserNS: true}} {
		mapped := i.Rootless || i.UserNS
		i.settle(address{scheme: "unix"}, here)
		if !i.Local || i.SharesUsers != (!mapped && initialUsers()) {
			t.Errorf("%+v", i)
		}
	}
}
