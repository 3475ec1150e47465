// Package setup is what a test and the stand-in for smolvm tell each other. The program under test
// builds the environment of what it runs from scratch, so nothing can be said there: it is said in
// files beside the stand-in's program, which are read again on every run.
package setup

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Version is the one that the stand-in plays unless it is told otherwise.
const Version = "1.9.2"

// Files beside the program.
const (
	configFile = "fake.json"
	callsFile  = "calls.jsonl"
	vmsFile    = "vms.jsonl"
)

// Config is what the stand-in plays.
type Config struct {
	Version string
	Faults  Faults
}

// Faults are what goes wrong. The zero value is a smolvm that works.
type Faults struct {
	// SlowList, SlowStart and SlowPack make ls and status, start, and pack create take longer. The
	// machine that packs exists while pack create sleeps; nothing is written yet. It sleeps no longer than
	// SlowPack is said.
	SlowList, SlowStart, SlowPack time.Duration
	// StartTimeout: the agent of a starting machine never answers. The wait of 30 seconds is cut short.
	StartTimeout bool
	// Unreachable: the processes of running machines live and their agents do not answer.
	Unreachable bool
	// ExecLost loses the connection of an interactive exec after so many bytes of its output. The
	// program in the machine is killed and its standard input closed. 0 loses nothing.
	ExecLost int
	// DBBusy: every machine command finds the database locked.
	DBBusy bool
	// DiskFull: create and pack create find no room.
	DiskFull bool
	// NoKVM: start finds no /dev/kvm.
	NoKVM bool
	// NoSockets: mounted sockets never appear in the machine.
	NoSockets bool
	// Network: status and ls claim that machines have a network.
	Network bool
	// PackNetwork: packed artifacts ask for a network.
	PackNetwork bool
	// PackArch is the platform that packed artifacts claim, such as "linux/s390x"; "" for their own.
	PackArch string
}

// Call is one run of the stand-in.
type Call struct {
	Argv []string // without the program's name
	Env  []string
	Pid  int
	// Exit is the status, or -1 of a run that was killed or is not over.
	Exit int
}

// VM is a machine's process that the stand-in started.
type VM struct {
	Pid int
	Dir string
	// Cgroup is the folder of its memory group, "" if it has none.
	Cgroup string
}

// Read returns what the program in dir plays.
func Read(dir string) (Config, error) {
	c := Config{Version: Version}
	b, err := os.ReadFile(filepath.Join(dir, configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	return c, err
}

// Write says what the program in dir plays from its next run on.
func (c Config) Write(dir string) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	// By rename: a run that starts meanwhile reads the old or the new, never half.
	tmp := filepath.Join(dir, configFile+".new")
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, configFile))
}

// note is a line of the record of runs: a start, or, with Over, an end. Of two runs with the same pid
// the earlier one is over, or never will be.
type note struct {
	Call
	Over bool
}

// Begin records that a run began.
func Begin(dir string, argv, env []string) error {
	return appendLine(filepath.Join(dir, callsFile), note{Call{argv, env, os.Getpid(), -1}, false})
}

// End records how this run ended.
func End(dir string, exit int) error {
	return appendLine(filepath.Join(dir, callsFile), note{Call{Pid: os.Getpid(), Exit: exit}, true})
}

// Calls are the runs of the program in dir, in their order.
func Calls(dir string) ([]Call, error) {
	var calls []Call
	latest := map[int]int{}
	err := eachLine(filepath.Join(dir, callsFile), func(line []byte) error {
		var n note
		if err := json.Unmarshal(line, &n); err != nil {
			return err
		}
		if i, ok := latest[n.Pid]; n.Over && ok {
			calls[i].Exit = n.Exit
		} else if !n.Over {
			latest[n.Pid] = len(calls)
			calls = append(calls, n.Call)
		}
		return nil
	})
	return calls, err
}

// Started records a machine's process.
func Started(dir string, vm VM) error { return appendLine(filepath.Join(dir, vmsFile), vm) }

// VMs are the processes that were ever started by the program in dir.
func VMs(dir string) ([]VM, error) {
	var vms []VM
	err := eachLine(filepath.Join(dir, vmsFile), func(line []byte) error {
		var vm VM
		err := json.Unmarshal(line, &vm)
		vms = append(vms, vm)
		return err
	})
	return vms, err
}

// appendLine writes v in a single write, so that lines of processes that run at once stay whole.
func appendLine(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}

func eachLine(path string, do func([]byte) error) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// Bytes after the last newline are of a line that is being written.
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, len(b)+1)
	for lines.Scan() {
		if err := do(lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}
