//go:build linux

package idmap

import (
	"os"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// The test binary stands in for cork, and is killed before it gets here, or else does nothing.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == backend.CorkCommand {
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestOwner(t *testing.T) {
	t.Parallel()
	uid, gid, err := Owner(t.TempDir())
	if err != nil || uid != os.Geteuid() || gid != os.Getegid() {
		t.Errorf("%d:%d, %v", uid, gid, err)
	}
	if _, _, err := Owner("/not/there"); err == nil {
		t.Error("a missing folder has an owner")
	}
}

// A file system that can't be shown under other ids is refused with words. /proc is one.
func TestCloneOfWhatCanNotBeMapped(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // an ordinary user maps nothing
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close() // only read
	users, err := Users(exe, 0, 0, backend.FirstHostID, backend.FirstHostID)
	if err != nil {
		t.Fatal(err)
	}
	defer users.Close() // a namespace
	if f, err := Clone("/proc", 0, users); err == nil {
		t.Error("it was")
		_ = f.Close() // the test failed already
	} else {
		t.Log(err)
	}
	f, err := Clone(t.TempDir(), 0, users)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
