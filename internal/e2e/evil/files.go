//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// write opens every path for writing, making it when it is missing in a folder that is there, and
// changes nothing in what exists.
func write(args []string) (any, error) {
	out := map[string]string{}
	for _, path := range args {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0o644)
		if err == nil {
			err = unix.Close(fd)
		}
		out[path] = outcomeOf(err)
	}
	return out, nil
}

// content is what a file or folder holds, or why it can't be known.
type content struct {
	Data  string `json:"data"`
	Error string `json:"error"`
}

// read reads files, links and folders.
func read(args []string) (any, error) {
	out := map[string]content{}
	for _, path := range args {
		if entries, err := os.ReadDir(path); err == nil {
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			out[path] = content{Data: strings.Join(names, "\n")}
			continue
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err != nil {
			out[path] = content{Error: outcomeOf(err)}
			continue
		}
		f := os.NewFile(uintptr(fd), path)
		b, err := io.ReadAll(io.LimitReader(f, 64<<10))
		_ = f.Close() // only read
		c := content{Data: string(b)}
		if err != nil {
			c.Error = outcomeOf(err)
		}
		out[path] = c
	}
	return out, nil
}

// finding is what a search came to.
type finding struct {
	Hits  []string `json:"hits"`
	Files int      `json:"files"` // read
	PIDs  []string `json:"pids"`  // processes that can be seen
}

// find looks for a text in every file below the other arguments, in its own environment, and in
// all that /proc tells of every process.
func find(args []string) (any, error) {
	needle := []byte(args[0])
	var out finding
	look := func(path string) {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err != nil {
			return
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, 64<<20))
		if err == nil || len(b) > 0 {
			out.Files++
		}
		if bytes.Contains(b, needle) {
			out.Hits = append(out.Hits, path)
		}
	}
	for _, root := range args[1:] {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				look(path)
			}
			if err != nil && d != nil && d.IsDir() && !errors.Is(err, fs.ErrNotExist) {
				return fs.SkipDir
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, kv := range os.Environ() {
		if strings.Contains(kv, args[0]) {
			out.Hits = append(out.Hits, "environment "+kv)
		}
	}
	dirs, err := os.ReadDir("/proc")
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		out.PIDs = append(out.PIDs, d.Name())
		files := []string{"environ", "cmdline", "status", "maps", "mountinfo", "net/unix", "comm", "stack", "io"}
		if pid == os.Getpid() {
			files = []string{"environ"} // its command line has what it looks for
		}
		for _, name := range files {
			look("/proc/" + d.Name() + "/" + name)
		}
		fds, _ := os.ReadDir("/proc/" + d.Name() + "/fd")
		for _, fd := range fds {
			path := "/proc/" + d.Name() + "/fd/" + fd.Name()
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				look(path)
			}
		}
	}
	return out, err
}
