package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connected reaches an engine and closes it at the end of the test.
func connected(t *testing.T, w Where) *Engine {
	t.Helper()
	e, err := Connect(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// takeOver has the engine hand a connection over, as attaching does.
func takeOver(t *testing.T, e *Engine) net.Conn {
	t.Helper()
	// A build's session, in which the daemon speaks first, HTTP/2 as a client. Its name must be free.
	id := t.Name() + strconv.FormatInt(time.Now().UnixNano(), 10)
	conn, err := e.API().DialHijack(t.Context(), "/session", "h2c", map[string][]string{
		"X-Docker-Expose-Session-Uuid": {id}, "X-Docker-Expose-Session-Name": {id},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // again, where the test did
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	got := make([]byte, len(preface))
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != preface {
		t.Errorf("the daemon said %q, %v", got, err)
	}
	return conn
}

// letGo ends a connection that was taken over from our side, and waits for the other's.
func letGo(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the end of the connection: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestDocker(t *testing.T) {
	t.Parallel()
	d := docker(t)
	w := Where{Host: d.socket, From: "DOCKER_HOST"}
	if why, fix := w.Obstacle(); why != "" || fix != "" {
		t.Errorf("obstacle %q, %q", why, fix)
	}
	e := connected(t, w)
	letGo(t, takeOver(t, e))
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	i := e.Info()
	if i.Kind != Docker || i.OS != "linux" || i.Arch != runtime.GOARCH || i.Kernel != unix.ByteSliceToString(u.Release[:]) || !strings.Contains(i.Version, ".") {
		t.Errorf("%+v", i)
	}
	if i.APIVersion != e.API().ClientVersion() || !strings.HasPrefix(i.APIVersion, "1.") {
		t.Errorf("API version %q, the client speaks %q", i.APIVersion, e.API().ClientVersion())
	}
	if !i.Local || !i.SharesUsers || i.Rootless || i.UserNS {
		t.Errorf("the engine here: local %v, shares users %v, rootless %v, remapped %v", i.Local, i.SharesUsers, i.Rootless, i.UserNS)
	}
	if i.DefaultRuntime != "runc" || !slices.Contains(i.Runtimes, "runc") || !slices.Contains(i.Runtimes, "runsc") || !slices.IsSorted(i.Runtimes) {
		t.Errorf("runtimes %q, default %q", i.Runtimes, i.DefaultRuntime)
	}
	if got, err := i.PickRuntime(""); got != "runsc" || err != nil {
		t.Errorf("picked %q, %v", got, err)
	}
	if !i.Memory || !i.PIDs || !i.CPU || i.Cgroup != "1" && i.Cgroup != "2" {
		t.Errorf("limits: %+v", i)
	}
	if e.Where() != w {
		t.Errorf("where: %+v", e.Where())
	}
}

func TestTCPWithClientCertificates(t *testing.T) {
	t.Parallel()
	d := docker(t)
	w := Where{Host: d.tcp, From: `context "tls"`, TLS: &d.certs.client}
	e := connected(t, w)
	letGo(t, takeOver(t, e))
	if i := e.Info(); i.Local || i.SharesUsers || i.Kind != Docker {
		t.Errorf("%+v", i)
	}
	if why, _ := w.Obstacle(); why != "" {
		t.Errorf("obstacle to an engine elsewhere: %s", why)
	}
	skip := d.certs.client
	skip.CA, skip.SkipVerify = "", true
	connected(t, Where{Host: d.tcp, TLS: &skip})

	other, err := newAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		host  string
		files *TLSFiles
		words []string
	}{
		"no TLS":                     {d.tcp, nil, []string{"HTTPS", "DOCKER_TLS_VERIFY=1"}},
		"a stranger's engine":        {d.tcp, &TLSFiles{CA: other.ca, Cert: d.certs.client.Cert, Key: d.certs.client.Key}, []string{"unknown authority", "docker context inspect"}},
		"the system's authorities":   {d.tcp, &TLSFiles{Cert: d.certs.client.Cert, Key: d.certs.client.Key}, []string{"unknown authority"}},
		"another name":               {strings.Replace(d.tcp, "127.0.0.1", "localhost", 1), &d.certs.client, []string{"localhost"}},
		"no certificate of ours":     {d.tcp, &TLSFiles{CA: d.certs.ca}, []string{"TLS"}},
		"a stranger's certificate":   {d.tcp, &TLSFiles{CA: d.certs.ca, Cert: other.client.Cert, Key: other.client.Key}, []string{"TLS"}},
		"a server's certificate":     {d.tcp, &TLSFiles{CA: d.certs.ca, Cert: d.certs.server.Cert, Key: d.certs.server.Key}, []string{"TLS"}},
		"another's key":              {d.tcp, &TLSFiles{CA: d.certs.ca, Cert: d.certs.client.Cert, Key: other.client.Key}, []string{"private key"}},
		"a missing authority":        {d.tcp, &TLSFiles{CA: "/missing/ca.pem"}, []string{"/missing/ca.pem"}},
		"a missing key":              {d.tcp, &TLSFiles{CA: d.certs.ca, Cert: d.certs.client.Cert}, []string{"our key"}},
		"an authority that is a key": {d.tcp, &TLSFiles{CA: d.certs.client.Key}, []string{"holds no certificate"}},
	} {
		_, err := Connect(t.Context(), Where{Host: c.host, From: `context "tls"`, TLS: c.files})
		if err == nil {
			t.Errorf("%s: connected", name)
			continue
		}
		t.Log(name+":", err)
		refused(t, err, TLSFailed, c.words...)
	}
}

// The engine is there and not for us.
func TestSocketThatIsClosedToUs(t *testing.T) {
	t.Parallel()
	d := docker(t)
	check := func(name string, v view, words ...string) {
		t.Helper()
		if v.Reason != Denied || v.Why != v.Text || v.Fix != v.Hint {
			t.Errorf("%s: %+v", name, v)
		}
		for _, w := range words {
			if !strings.Contains(v.Why+"\n"+v.Fix, w) {
				t.Errorf("%s: %q is in neither of\n%s\n%s", name, w, v.Why, v.Fix)
			}
		}
	}
	check("Docker's own", seenBy(t, ordinary, ordinary, Where{Host: d.socket, From: "default"}), d.socket+" (default)", "permission denied", "rootless")

	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := func(name string, gid int, mode os.FileMode) Where {
		s := listen(t, filepath.Join(dir, name))
		if err := errors.Join(os.Chown(s, 0, gid), os.Chmod(s, mode)); err != nil {
			t.Fatal(err)
		}
		return Where{Host: "unix://" + s, From: "default"}
	}
	const users, nobody, nogroup = 100, 65534, 65534 // as Debian and its relatives have them
	check("a group to join", seenBy(t, ordinary, ordinary, socket("group", users, 0o660)), "usermod -aG users $USER", "log out and in again")
	check("a group of ours since the last login", seenBy(t, nobody, ordinary, socket("member", nogroup, 0o660)), "newgrp nogroup")
	check("root's alone", seenBy(t, ordinary, ordinary, socket("root", 0, 0o600)), "only root may use it", "rootless")
	check("a group that may not", seenBy(t, ordinary, ordinary, socket("deaf", users, 0o600)), "only root may use it")
	closed := socket("closed/docker.sock", 0, 0o666)
	if err := os.Chmod(filepath.Join(dir, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	check("a closed folder", seenBy(t, ordinary, ordinary, closed), "permission denied")
}

func TestEngineThatDoesNotRun(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "dead.sock")})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as an engine that was killed leaves it
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "file"), "")
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	for host, words := range map[string][]string{
		"unix://" + dir + "/none.sock": {"no such socket", "systemctl start docker"},
		"unix://" + dir + "/dead.sock": {"nothing listens there", "systemctl start docker"},
		"tcp://127.0.0.1:" + port:      {"nothing listens there", "docker context use"},
		"tcp://nowhere.invalid:2375":   {"nowhere.invalid", "docker context use"},
	} {
		_, err := Connect(t.Context(), Where{Host: host, From: "DOCKER_HOST"})
		refused(t, err, NotRunning, append(words, host+" (DOCKER_HOST)")...)
	}
	for name, word := range map[string]string{"none.sock": "no such socket", "file": "that is no socket"} {
		why, fix := Where{Host: "unix://" + dir + "/" + name, From: "default"}.Obstacle()
		if !strings.Contains(why, word) || !strings.Contains(why, name) || fix == "" {
			t.Errorf("%s: obstacle %q, %q", name, why, fix)
		}
	}
}

// An engine that comes back is used again, and its absence is told in words meanwhile.
func TestEngineThatComesBack(t *testing.T) {
	t.Parallel()
	d := docker(t)
	dir := shortDir(t)
	link := filepath.Join(dir, "docker.sock")
	point := func() {
		t.Helper()
		if err := os.Symlink(strings.TrimPrefix(d.socket, "unix://"), link); err != nil {
			t.Fatal(err)
		}
	}
	point()
	e := connected(t, Where{Host: "unix://" + link, From: "default"})
	if err := errors.Join(os.Remove(link), e.api.Close()); err != nil { // no idle connection is left to use
		t.Fatal(err)
	}
	_, err := e.API().ContainerList(t.Context(), listAll)
	refused(t, err, NotRunning, "no such socket")
	point()
	if _, err := e.API().ContainerList(t.Context(), listAll); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.API().ContainerList(context.Background(), listAll); err == nil {
		t.Error("a closed engine answers")
	}
}
