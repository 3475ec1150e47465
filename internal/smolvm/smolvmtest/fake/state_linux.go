package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// record is a machine in the database.
type record struct {
	Name       string
	Pid        int    // 0 if it was stopped, or never ran
	PidStart   string // when that process started: a pid comes back one day
	Started    bool   // ever
	CPUs, Mem  int
	Storage    *int
	Overlay    *int
	Image      string
	Entrypoint []string
	Cmd        []string
	Env        []string
	Workdir    string
	Labels     map[string]string
	Network    bool
	Mounts     []mount
	Ports      int
	Sockets    []socket
	CreatedAt  int64
	GPU, CUDA  bool
	Artifact   string // the file it was made from
	SharedPack string // where its contents are kept
}

type mount struct {
	Host, Guest string
	ReadOnly    bool
}

// socket is a unix socket of the host's that appears in the machine.
type socket struct{ Host, Guest string }

// database is all state of a home.
type database struct {
	Machines map[string]*record
	// Reserved are names of machines in the making, with the process that makes them.
	Reserved map[string]process
}

// process is a process that is meant, and no later one with its pid.
type process struct {
	Pid   int
	Start string
}

func self() process { return process{os.Getpid(), startOf(os.Getpid())} }

func (p process) alive() bool { return p.Pid > 0 && p.Start != "" && startOf(p.Pid) == p.Start }

// startOf is when a process started, in the kernel's words, or "" of one that is dead or a zombie.
func startOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// lock waits for a lock of the home's and holds it until the process ends or unlock is called.
func (h home) lock(name string) (unlock func(), err error) {
	dir := filepath.Join(h.server(), "locks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return func() { _ = unix.Close(fd) }, nil
}

// change runs do on the database, alone, and keeps what it made of it unless it fails.
func (h home) change(do func(*database) error) error {
	unlock, err := h.lock("database")
	if err != nil {
		return fmt.Errorf("database operation failed: open: %w", err)
	}
	defer unlock()
	path := filepath.Join(h.server(), "smolvm.json")
	db, err := load(path)
	if err != nil {
		return fmt.Errorf("database operation failed: open: %w", err)
	}
	if err := do(db); err != nil {
		return err
	}
	b, err := json.Marshal(db)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("database operation failed: write: %w", err)
	}
	return nil
}

// read returns the database as it is. Its file is replaced as a whole, so no lock is needed.
func (h home) read() (*database, error) {
	db, err := load(filepath.Join(h.server(), "smolvm.json"))
	if err != nil {
		return nil, fmt.Errorf("database operation failed: open: %w", err)
	}
	return db, nil
}

func load(path string) (*database, error) {
	db := &database{}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, db)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if db.Machines == nil {
		db.Machines = map[string]*record{}
	}
	if db.Reserved == nil {
		db.Reserved = map[string]process{}
	}
	return db, err
}

// States of a machine.
const (
	stateCreated     = "created"
	stateRunning     = "running"
	stateStopped     = "stopped"
	stateUnreachable = "unreachable"
)

func (r *record) process() process { return process{r.Pid, r.PidStart} }

// state is how a machine is now, whatever was written about it.
func (t *tool) state(r *record) string {
	switch {
	case !r.process().alive() && !r.Started:
		return stateCreated
	case !r.process().alive():
		return stateStopped
	case t.Faults.Unreachable:
		return stateUnreachable
	}
	return stateRunning
}

// orphan is the process that a machine's folder names and its record may not: of a start that was
// interrupted.
func orphan(dir string) process {
	b, err := os.ReadFile(filepath.Join(dir, "agent.pid"))
	if err != nil {
		return process{}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return process{}
	}
	words, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.HasSuffix(words, []byte("_boot-vm\x00"+filepath.Join(dir, bootFile)+"\x00")) {
		return process{}
	}
	return process{pid, startOf(pid)}
}
