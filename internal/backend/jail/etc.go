//go:build linux

package jail

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// From the host's /etc only what programs need to run and what says nothing about people, keys or
// this machine. Certificates aren't among it: the bottle trusts its own authority alone.
var (
	etcFiles = []string{
		"ld.so.cache", "ld.so.conf", "localtime", "timezone", "os-release", "lsb-release", "debian_version",
		"redhat-release", "fedora-release", "alpine-release", "arch-release", "protocols", "services", "rpc",
		"ethertypes", "mime.types", "magic", "gai.conf", "host.conf", "profile", "bash.bashrc", "bashrc", "inputrc",
		"DIR_COLORS", "locale.conf", "locale.alias", "vconsole.conf", "shells", "manpath.config", "papersize",
		"ssl/openssl.cnf", "pki/tls/openssl.cnf",
	}
	etcFolders = []string{
		"alternatives", "ld.so.conf.d", "bash_completion.d", "crypto-policies", "fonts", "terminfo", "perl", "vim",
		"java", "java-*", "python*", "php", "R",
	}
)

// maxEtcFile bounds a copied file; the linker's cache is the largest.
const maxEtcFile = 1 << 20

// etc makes /etc, of which a system of its own has its own.
func (b *builder) etc() error {
	if b.spec.Whole {
		return b.accounts()
	}
	buf := make([]byte, maxEtcFile)
	for _, name := range etcFiles {
		if err := b.copyEtc(name, buf); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir("/etc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		for _, pattern := range etcFolders {
			if ok, _ := path.Match(pattern, e.Name()); ok { // the patterns are constant and well formed
				if err := b.mirror(path.Join("/etc", e.Name())); err != nil {
					return err
				}
				break
			}
		}
	}
	if err := b.accounts(); err != nil {
		return err
	}
	return b.symlink("/proc/self/mounts", "/etc/mtab")
}

// accounts writes who there is.
func (b *builder) accounts() error {
	shell := "/bin/sh"
	if _, err := os.Stat("/bin/bash"); err == nil {
		shell = "/bin/bash"
	}
	for _, f := range backend.Accounts(b.spec.Hostname, shell, b.spec.UID, b.spec.GID) {
		if err := b.file(f.Path, uint32(f.Mode), f.Data); err != nil {
			return err
		}
	}
	return nil
}

// copyEtc copies one file everybody on the host may read. A link into /usr stays a link. What is
// missing or private is left out.
func (b *builder) copyEtc(name string, buf []byte) error {
	host := path.Join("/etc", name)
	if n, err := unix.Readlink(host, buf[:maxLink]); err == nil {
		if to := absolute(host, string(buf[:n])); strings.HasPrefix(to, "/usr/") {
			return b.symlink(to, host)
		}
	}
	fd, err := unix.Open(host, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd) // only read
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o004 == 0 || st.Size > maxEtcFile {
		return nil
	}
	// A regular file of that size comes in one piece, unless somebody is changing it just now.
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil
	}
	return b.file(host, 0o644, buf[:n])
}

// absolute resolves the text of a link at path by its words alone.
func absolute(at, to string) string {
	if path.IsAbs(to) {
		return path.Clean(to)
	}
	return path.Join(path.Dir(at), to)
}
