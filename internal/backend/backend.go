// Package backend is what a bottle runs on. A backend's whole duty is to give an isolated Linux
// environment with no network device, start cork in it as its first process, hand back the wire,
// stop it, and list and remove what it made. Egress, git, supervision, sessions, copying and exec
// are written once, above.
//
// A driver passes the suite in backendtest, whose rows are the claims below and the escape tests;
// a backend that can't prove a guarantee refuses to start a bottle. There is no degraded mode.
package backend

import (
	"context"
	"errors"
	"io/fs"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Errors a caller branches on.
var (
	// ErrExists is wrapped by Start when the ID is taken on this backend.
	ErrExists = errors.New("bottle exists already")
	// ErrUnavailable is wrapped by Start when the backend can't work on this host; the text tells
	// what to do about it.
	ErrUnavailable = errors.New("backend can't run here")
)

// CorkCommand is the hidden command of our program that runs cork: a backend that starts our own
// binary inside a bottle starts it with this one argument.
const CorkCommand = "cork"

// Backend runs bottles. All methods are safe for concurrent use and honour ctx: when ctx ends, a
// method returns promptly with ctx's cause and leaves nothing half-made.
type Backend interface {
	// Name is the word the operator types: "native".
	Name() string
	// Start brings a bottle up to where cork serves the wire and nothing of the agent has run.
	// On error everything it made is gone again. Progress may be nil; it is called from the
	// calling goroutine only. The bottle lives until Stop, until its first process dies, or until
	// the calling process dies: a dead holder of the wire means a dead bottle.
	Start(ctx context.Context, s Spec, progress func(line string)) (Bottle, error)
	// Found lists what this backend left on the host for bottles whether alive or dead: control
	// groups, containers, machines. Used by list and cleanup. An error that wraps ErrUnavailable means
	// that nobody can tell, since what the backend stands on is not there.
	Found(ctx context.Context) ([]Leftover, error)
	// Remove removes what Found found for id. Removing nothing is no error; removing what belongs
	// to a live bottle is the caller's mistake to avoid.
	Remove(ctx context.Context, id bottle.ID) error
}

// Describer is implemented by backends that stand on something that can be asked what it is.
type Describer interface {
	// Describe says what the backend stands on. The error says why it can't be used, and may have a hint.
	Describe(ctx context.Context) (Description, error)
}

// Description is what a backend stands on.
type Description struct {
	Text string // one line: "Docker 28.1 (API 1.49), runtimes runc and runsc"
	// Doubt says why it may fail nevertheless, and Fix what to do about that; empty for none.
	Doubt, Fix string
}

// Keeper is implemented by backends that keep things from one bottle to the next, such as images.
type Keeper interface {
	// Kept lists them.
	Kept(ctx context.Context) ([]Kept, error)
	// Discard removes one by its ID. What is gone is no error, what is in use is one.
	Discard(ctx context.Context, id string) error
}

// Kept is something a backend keeps.
type Kept struct {
	ID   string `json:"id"`
	What string `json:"what"` // "image claude-bottle:latest, 312 MB"
	// Waste is true when nothing can use it any more, as what is left of a build that broke off.
	Waste bool `json:"waste,omitempty"`
	InUse bool `json:"in_use,omitempty"`
}

// Leftover is something a backend made for a bottle.
type Leftover struct {
	ID   bottle.ID `json:"id"`
	What string    `json:"what"` // "cgroup /sys/fs/cgroup/pids/claude-bottle/x-abcde"
	// Brings is true when it holds files of the bottle's folders that Remove copies there first.
	Brings bool `json:"brings,omitempty"`
	// Running is true when processes of the bottle run in it.
	Running bool `json:"running,omitempty"`
	// Idle is true when nothing runs in it and it is at least a minute old, so that it can't be
	// part of a bottle that lives or is being made. Others than the store that knows ID may remove
	// it only then: the bottle may belong to another home folder, or another user.
	Idle bool `json:"idle,omitempty"`
}

// Bottle is a running bottle as a backend sees it.
type Bottle interface {
	// Wire carries everything but, on some backends, the ways out. It is ready to use.
	Wire() *wire.Session
	// Ways are the bottle's ways out; see wire.Ways.
	Ways() wire.Ways
	// Report says what the seal is made of here.
	Report() Report
	// Done is closed when nothing of the bottle runs any more.
	Done() <-chan struct{}
	// Err says why the bottle ended, once Done is closed: nil when Stop was called, else an error
	// in words for the operator, such as a limit that was passed. Before that it is nil.
	Err() error
	// Stop kills everything in the bottle, waits until it is gone, and removes what Start made
	// (never the folders of Spec.Mounts). It is idempotent.
	Stop(ctx context.Context) error
}

// Report is the evidence of a started bottle's seal, for the preflight's promise to be compared
// with, for list and for the self-test's record.
type Report struct {
	Backend    string   `json:"backend"`
	Namespaces []string `json:"namespaces"` // "user", "mount", "pid", "net", "ipc", "uts", "cgroup"
	Landlock   int      `json:"landlock"`   // ABI reached; 0 is none
	Seccomp    bool     `json:"seccomp"`
	CorkUID    uint32   `json:"cork_uid"`  // as the host sees it
	AgentUID   uint32   `json:"agent_uid"` // as the host sees it; never 0
	Limits     []string `json:"limits"`    // what enforces which limit: "memory: cgroup v1", "pids: rlimit"
	Notes      []string `json:"notes"`     // what could not be had, in words for the operator
	// Runtime is what runs the container, where one does: "runc", "runsc".
	Runtime string `json:"runtime,omitempty"`
	// Narrow says that the network is: see wire.Ways.
	Narrow bool `json:"narrow,omitempty"`
	// Env are variables that the bottle's own system brings along, "NAME=value".
	Env []string `json:"env,omitempty"`
}

// Spec is all a backend needs to know. It holds no credential and nothing of the egress policy.
type Spec struct {
	ID bottle.ID
	// Dir is the bottle's state folder on this host: private (0700), existing, the operator's.
	Dir string
	// Hostname is what the bottle believes it is called.
	Hostname string
	// Files appear in the bottle at their absolute paths, owned by its root, not writable by the
	// agent: trust stores, passwd entries, configuration.
	Files []File
	// Mounts appear in the bottle. The agent's home and workspace are among them.
	Mounts []Mount
	Limits Limits
	// System is what the bottle's system is made from, where Facts.OwnSystem says that it has one of
	// its own; else it has the host's programs, and System does not count.
	System System
	// Cache is a folder of ours, absolute, for what a backend keeps from one bottle to the next; it
	// is made when missing.
	Cache string
}

// System says what a bottle's own system is made from. It names things and makes none.
type System struct {
	// Ref is the name of the image: of the one to be built, or with Prebuilt of the one to be used.
	Ref      string `json:"ref"`
	Prebuilt bool   `json:"prebuilt,omitempty"`
	// Dockerfile is the absolute path of the operator's, Base the image the agent program is laid
	// over where there is none; both may be empty.
	Dockerfile string `json:"dockerfile,omitempty"`
	Base       string `json:"base,omitempty"`
	// Runtime is the container runtime to insist on; empty leaves the choice to the backend.
	Runtime string `json:"runtime,omitempty"`
	// Program is the agent program to lay over it; nil for none. A plan has none yet.
	Program *Program `json:"-"`
}

// Program is an agent program of this host.
type Program struct {
	Name, Version string
	Dir           string // its folder, or lone file: absolute, without symbolic links
	Target        string // where that is to be in the bottle
}

// File is a small file placed in the bottle before anything runs.
type File struct {
	Path string
	Mode fs.FileMode
	Data []byte
}

// Mount shows a folder or file of the host in the bottle.
type Mount struct {
	// Source is an absolute path on the host; symbolic links in it are the caller's to resolve.
	Source string `json:"source"`
	// Target is an absolute path in the bottle.
	Target string `json:"target"`
	// Writable lets the agent write. What it creates belongs, on the host, to the operator.
	Writable bool `json:"writable,omitempty"`
}

// Limits bound a bottle; zero fields mean no limit of that kind.
type Limits struct {
	Memory int64   `json:"memory,omitempty"` // bytes, swap included
	PIDs   int64   `json:"pids,omitempty"`   // processes and threads
	CPUs   float64 `json:"cpus,omitempty"`   // cores' worth of time
	Disk   int64   `json:"disk,omitempty"`   // bytes in the writable mounts together
	Tmp    int64   `json:"tmp,omitempty"`    // bytes in /tmp, /dev/shm and /run each
}

// Places in every bottle, the same on all backends.
const (
	AgentUser = "agent"
	AgentUID  = 1000
	AgentGID  = 1000
	Home      = "/home/agent"
	Workspace = "/workspace"
	// Programs is where provider programs are mounted, read-only.
	Programs = "/opt/claude-bottle"
	// ProxyAddr is where the explicit proxy listens in the bottle.
	ProxyAddr = "127.0.0.1:3128"
)

// Facts are what is known about a backend on this host without starting anything: file reads only,
// so that prepare may use them.
type Facts struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	// Why and Fix say what is missing and what to type, when not Ready.
	Why string `json:"why,omitempty"`
	Fix string `json:"fix,omitempty"`
	// OwnSystem is true when its bottles have a system of their own instead of the host's programs.
	OwnSystem bool `json:"own_system,omitempty"`
	// Runtimes is true when a bottle may insist on a container runtime.
	Runtimes bool `json:"runtimes,omitempty"`
	// At says where it is, when that is not here: a container engine's address.
	At string `json:"at,omitempty"`
	// Notes say what bottles there can't do or have, in words for the preflight.
	Notes []string `json:"notes,omitempty"`
	// Limits says for each limit whether it can be enforced: "memory", "pids", "cpus", "disk".
	Limits map[string]Enforcement `json:"limits,omitempty"`
}

// Enforcement says whether and by what a limit holds.
type Enforcement struct {
	By string `json:"by"` // "cgroup v1", "rlimit", "meter"; empty when nothing enforces it
	// Note explains an empty By, in words for the preflight.
	Note string `json:"note,omitempty"`
}
