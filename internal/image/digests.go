package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	digestsVersion = 1
	digestsMax     = 64 << 20 // bytes of the file
	// settled is how long a file must have been left alone for its stamp to stand for its bytes:
	// two writes within one tick of a file system's clock leave the same stamp.
	settled = time.Second
)

// digests remembers the digests of a folder's files from one launch to the next, so that a second
// launch does not read them again. It is a cache: whatever is wrong with it, files are read.
type digests struct {
	dir, file string
	known     map[string]digest
	seen      map[string]digest // in this run
}

// digest is what a file's bytes were when it looked so.
type digest struct {
	Stamp  stamp  `json:"stamp"`
	SHA256 string `json:"sha256"`
}

// stamp is what changes when a file is written.
type stamp struct {
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"` // nanoseconds
	Ctime int64  `json:"ctime"` // nanoseconds; moves also where mtime was set back
	Inode uint64 `json:"inode"`
}

type digestsFile struct {
	Version int               `json:"version"`
	Dir     string            `json:"dir"`
	Files   map[string]digest `json:"files"`
}

// openDigests reads what is known about the files of dir from the folder cache.
func openDigests(cache, dir string) *digests {
	name := sha256.Sum256([]byte(dir))
	d := &digests{dir: dir, file: filepath.Join(cache, "digests-"+hex.EncodeToString(name[:8])+".json"), seen: map[string]digest{}}
	f, err := os.OpenFile(d.file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return d
	}
	defer f.Close()
	var saved digestsFile
	if err := json.NewDecoder(io.LimitReader(f, digestsMax)).Decode(&saved); err == nil && saved.Version == digestsVersion && saved.Dir == dir {
		d.known = saved.Files
	}
	return d
}

// find returns the digest of a file that looks as it did; empty when it must be read.
func (d *digests) find(name string) string {
	k, ok := d.known[name]
	if !ok {
		return ""
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(d.dir, filepath.FromSlash(name)), &st); err != nil || stampOf(st) != k.Stamp {
		return ""
	}
	d.seen[name] = k
	return k.SHA256
}

// learn takes the digest of the file that was just read to its end.
func (d *digests) learn(name string, f *os.File, sum string) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return
	}
	s := stampOf(st)
	if newest := max(s.Mtime, s.Ctime); time.Since(time.Unix(0, newest)) > settled {
		d.seen[name] = digest{s, sum}
	}
}

// save writes what this run saw, when it differs from what was known.
func (d *digests) save() error {
	if maps.Equal(d.known, d.seen) {
		return nil
	}
	text, err := json.Marshal(digestsFile{digestsVersion, d.dir, d.seen})
	if err != nil {
		return err
	}
	// Two launches may save at once: each a file of its own, the last name wins.
	f, err := os.CreateTemp(filepath.Dir(d.file), ".digests-")
	if err != nil {
		return fmt.Errorf("remember the files of %s: %w", d.dir, err)
	}
	_, err = f.Write(text)
	if end := f.Close(); err == nil {
		err = end
	}
	if err == nil {
		err = os.Rename(f.Name(), d.file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error tells
		return fmt.Errorf("remember the files of %s: %w", d.dir, err)
	}
	return nil
}

func stampOf(st unix.Stat_t) stamp {
	return stamp{Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(), Inode: st.Ino}
}
