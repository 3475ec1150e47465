//go:build unix

package wire

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFilesArriveBeforeTheSessionAndLeaveItsBytesAlone(t *testing.T) {
	t.Parallel()
	a, b := conns(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lf, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer lf.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	meta := map[string]string{"text": strings.Repeat("m", 50000)}
	if err := SendFiles(a, meta, lf, f); err != nil {
		t.Fatal(err)
	}
	warden := NewSession(a, Warden) // its hello is in the socket before anybody receives
	defer warden.Close()

	var got map[string]string
	files, err := RecvFiles(b, &got)
	if err != nil || len(files) != 2 || got["text"] != meta["text"] {
		t.Fatalf("%d files, %d bytes of meta, %v", len(files), len(got["text"]), err)
	}
	for _, f := range files {
		defer f.Close()
		if flags, _, e := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_GETFD, 0); e != 0 || flags&syscall.FD_CLOEXEC == 0 {
			t.Errorf("%s would reach a program: flags %#x, %v", f.Name(), flags, e)
		}
	}
	if l2, err := net.FileListener(files[0]); err != nil || l2.Addr().String() != l.Addr().String() {
		t.Errorf("%v, %v", l2, err)
	} else {
		_ = l2.Close()
	}
	cork := NewSession(b, Cork)
	defer cork.Close()
	cork.Handle("echo", echo)
	st := open(t, warden, "echo", nil)
	_, _ = io.WriteString(st, "hi")
	_ = st.CloseWrite()
	if b, err := io.ReadAll(st); string(b) != "hi" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFilesThatAreNotWhatWasAnnouncedAreRefused(t *testing.T) {
	t.Parallel()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() }) // after the parallel parts
	rights := func(n int) []byte {
		fds := make([]int, n)
		for i := range fds {
			fds[i] = int(null.Fd())
		}
		return syscall.UnixRights(fds...)
	}
	for name, c := range map[string]struct {
		msg string
		oob []byte
	}{
		"fewer":         {"\x00\x00\x00\x02\x02{}", rights(1)},
		"more":          {"\x00\x00\x00\x02\x01{}", rights(2)},
		"far more":      {"\x00\x00\x00\x02\x11{}", rights(maxFiles + 1)},
		"none":          {"\x00\x00\x00\x02\x01{}", nil},
		"oversize meta": {"\x7f\x00\x00\x00\x01", rights(1)},
		"bad meta":      {"\x00\x00\x00\x02\x01{[", rights(1)},
		"cut short":     {"\x00\x00\x00\x09\x01{}", rights(1)},
		"nothing":       {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := conns(t)
			if c.msg != "" {
				if _, _, err := a.WriteMsgUnix([]byte(c.msg), c.oob, nil); err != nil {
					t.Fatal(err)
				}
			}
			_ = a.CloseWrite()
			var meta any
			if files, err := RecvFiles(b, &meta); err == nil || files != nil {
				t.Errorf("%d files were taken, %v", len(files), err)
			}
		})
	}
	a, _ := conns(t)
	if err := SendFiles(a, strings.Repeat("x", maxFileMeta), null); err == nil {
		t.Error("an oversize meta was sent")
	}
}
