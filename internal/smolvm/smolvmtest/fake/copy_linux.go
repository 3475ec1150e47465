package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/table"
)

// copyMost is the size of the biggest file that is copied.
const copyMost = 4 << 30

// copyFile is machine cp: one file, in or out.
func copyFile(t *tool, p *table.Parsed) error {
	src, dst := p.One("src"), p.One("dst")
	name, inside, down := strings.Cut(src, ":")
	local := dst
	up := false
	if !down {
		name, inside, up = strings.Cut(dst, ":")
		local = src
	}
	if !up && !down {
		return configError("cp", "one of SRC or DST must use machine:path syntax (e.g., myvm:/workspace/file)")
	}
	if down && (p.Has("mode") || p.Has("uid") || p.Has("gid")) {
		return configError("cp", "--mode/--uid/--gid apply to uploads only (host -> machine)")
	}
	_, conn, err := t.connect(name, true)
	if err != nil {
		return err
	}
	if down {
		return download(conn, inside, local)
	}
	r := request{Op: "put", Path: inside}
	if p.Has("mode") {
		mode, err := strconv.ParseUint(strings.TrimPrefix(p.One("mode"), "0o"), 8, 32)
		if err != nil || mode > 0o7777 {
			return configError("cp", "invalid octal mode '%s' (expected e.g. 644)", p.One("mode"))
		}
		r.Mode8 = new(uint32(mode))
	}
	for dest, id := range map[string]**uint32{"uid": &r.UID, "gid": &r.GID} {
		if n := number(p, dest); n != nil {
			*id = new(uint32(*n))
		}
	}
	return upload(conn, local, r)
}

func upload(conn descriptor, local string, r request) error {
	f, err := os.Open(local)
	if err != nil {
		return agentError("read local file", "%s: %s", local, reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return agentError("stat local file", "%s: %s", local, reason(err))
	}
	if r.Size = info.Size(); r.Size > copyMost {
		return agentError("write file", "%s is too large: %d bytes (max %d)", local, r.Size, copyMost)
	}
	fmt.Fprintf(os.Stderr, "Uploading %s -> %s\n", local, r.Path)
	if err := writeJSON(conn, frameRequest, r); err != nil {
		return agentError("send message", "%s", reason(err))
	}
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		if n == 0 && err != nil && !errors.Is(err, io.EOF) {
			return agentError("read local file", "%s: %s", local, reason(err))
		}
		// The machine may have refused already: its answer says why.
		if writeFrame(conn, frameStdin, buf[:n]) != nil || n == 0 {
			break
		}
	}
	return answer(conn, "write file", func([]byte) error { return nil })
}

func download(conn descriptor, inside, local string) error {
	fmt.Fprintf(os.Stderr, "Downloading %s -> %s\n", inside, local)
	if err := writeJSON(conn, frameRequest, request{Op: "get", Path: inside}); err != nil {
		return agentError("send message", "%s", reason(err))
	}
	var f *os.File
	write := func(b []byte) (err error) {
		if f == nil {
			if f, err = os.Create(local); err != nil {
				return agentError("write local file", "%s: %s", local, reason(err))
			}
		}
		if _, err := f.Write(b); err != nil {
			return agentError("write local file", "%s: %s", local, reason(err))
		}
		return nil
	}
	err := answer(conn, "read file", write)
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return err
}

// answer reads the agent's answer to a copy.
func answer(conn descriptor, op string, data func([]byte) error) error {
	for {
		kind, payload, err := readFrame(conn)
		switch {
		case err != nil:
			return agentError(op, "connection to VM lost")
		case kind == frameExit:
			return nil
		case kind == frameError:
			return agentError(op, "%s", payload)
		case kind == frameStdout:
			if err := data(payload); err != nil {
				return err
			}
		}
	}
}

// place is where a file of the guest's is. While no container runs, files are put beneath what is mounted
// in one: what is put into /tmp or /run then is not seen there.
func (g *inside) place(name string) (string, error) {
	if name == "" {
		return "", errors.New("invalid path '': path is empty")
	}
	for _, part := range strings.Split(strings.TrimPrefix(name, "/"), "/") {
		switch part {
		case "..":
			return "", fmt.Errorf("invalid path '%s': parent traversal is not allowed", name)
		case ".":
			return "", fmt.Errorf("invalid path '%s': current-dir segments are not allowed", name)
		}
	}
	whole := path.Clean("/" + name)
	if g.live() || strings.HasPrefix(whole+"/", "/workspace/") {
		return whole, nil
	}
	return fmt.Sprintf("/proc/self/fd/%d%s", g.under, whole), nil
}

// live says whether a container runs in the machine.
func (g *inside) live() bool {
	return g.used.Load() || g.main != 0 && unix.Kill(g.main, 0) == nil
}

// put writes a file, or leaves what was there: its bytes come first under another name.
func (g *inside) put(conn descriptor, r request) error {
	target, err := g.place(r.Path)
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("failed to write %s: %s", r.Path, reason(err)) }
	if err := os.MkdirAll(path.Dir(target), 0o755); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(path.Dir(target), path.Base(target)+".smolvm-")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	for {
		kind, payload, err := readFrame(conn)
		if err != nil || kind != frameStdin {
			return errors.New("upload was interrupted")
		}
		if len(payload) == 0 {
			break
		}
		if _, err := f.Write(payload); err != nil {
			return fail(err)
		}
	}
	uid, gid, mode := -1, -1, uint32(0o644)
	if r.UID != nil {
		uid = int(*r.UID)
	}
	if r.GID != nil {
		gid = int(*r.GID)
	}
	if r.Mode8 != nil {
		mode = *r.Mode8
	}
	if err := f.Chown(uid, gid); err != nil {
		return fail(err)
	}
	if err := unix.Fchmod(int(f.Fd()), mode); err != nil {
		return fail(err)
	}
	if err := os.Rename(f.Name(), target); err != nil {
		return fail(err)
	}
	return writeJSON(conn, frameExit, exited{})
}

func (g *inside) get(conn descriptor, r request) error {
	source, err := g.place(r.Path)
	if err != nil {
		return err
	}
	f, err := os.Open(source)
	if err != nil {
		return fmt.Errorf("failed to read file: %s: %s", r.Path, reason(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("failed to read file: %s: not a regular file", r.Path)
	}
	buf := make([]byte, 1<<20)
	for first := true; ; first = false {
		n, err := f.Read(buf)
		if n > 0 || first { // an empty file is one, too
			if err := writeFrame(conn, frameStdout, buf[:n]); err != nil {
				return nil
			}
		}
		if err != nil {
			break
		}
	}
	return writeJSON(conn, frameExit, exited{})
}
