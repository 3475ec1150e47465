//go:build linux

// Package cgroup bounds what a bottle uses, by control groups: one group for each bottle, named
// after it, under a parent of ours. It speaks version 1, version 2, both on one host, and the
// subtree that systemd delegates to an ordinary user.
//
//	l, err := cgroup.Find()
//	g, err := l.Create("researcher-m3hxd", cgroup.Limits{Memory: 1 << 30})
//	err = g.Join(pid)
//	err = g.Remove(ctx) // kills what is in it
package cgroup

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// parent is the folder our groups are in, in every hierarchy.
const parent = "claude-bottle"

// controllers are the ones we use.
const (
	memory = "memory"
	pids   = "pids"
	cpu    = "cpu"
)

var controllers = [...]string{memory, pids, cpu}

// Layout is where groups can be made on this host by this process.
type Layout struct {
	// v1 has the folder of each controller of ours that is mounted in version 1 and writable.
	v1 map[string]string
	// v2 is a folder of the version 2 tree in which we may make groups; empty when there is none.
	v2 string
	// v2has are the controllers groups under v2 can have.
	v2has map[string]bool
	// why says for each controller that is missing what stands in the way.
	why map[string]string
}

// Find looks for control groups, by reading files alone.
func Find() (Layout, error) { return find("/proc/self") }

func find(proc string) (Layout, error) {
	l := Layout{v1: map[string]string{}, v2has: map[string]bool{}, why: map[string]string{}}
	mounts, err := os.Open(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return l, fmt.Errorf("control groups: %w", err)
	}
	defer mounts.Close() // only read
	var unified mount
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		m, ok := parseMount(lines.Text())
		switch {
		case !ok:
		case m.kind == "cgroup2" && unified.point == "":
			unified = m
		case m.kind == "cgroup":
			for o := range strings.SplitSeq(m.options, ",") {
				if !ours(o) || l.v1[o] != "" {
					continue
				}
				if writable(m.point) {
					l.v1[o] = m.point
				} else {
					l.why[o] = m.point + " belongs to root"
				}
			}
		}
	}
	if unified.point != "" {
		l.unified(unified, proc)
	}
	for _, c := range controllers {
		if l.v1[c] == "" && !l.v2has[c] && l.why[c] == "" {
			l.why[c] = "this host has no control group for it"
		}
	}
	return l, nil
}

func ours(controller string) bool { return slices.Contains(controllers[:], controller) }

// writable reports whether this process may make a group in the folder.
func writable(dir string) bool { return unix.Access(dir, unix.W_OK) == nil }

// mount is the part of a line of mountinfo that matters here.
type mount struct {
	root, point, kind, options string // options are the super block's
}

// parseMount reads a line of mountinfo: fixed fields, optional ones up to a hyphen, then type,
// source and super block options.
func parseMount(line string) (mount, bool) {
	head, tail, ok := strings.Cut(line, " - ")
	h, t := strings.Fields(head), strings.Fields(tail)
	if !ok || len(h) < 5 || len(t) < 3 {
		return mount{}, false
	}
	return mount{root: h[3], point: unescape.Replace(h[4]), kind: t[0], options: t[2]}, true
}

// unescape undoes the octal escapes of mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// unified finds the part of the version 2 tree that is ours to use. For root that is all of it.
// For others it is the highest group above our own that belongs to us, since a process may only
// be moved below a common ancestor its mover may write to.
func (l *Layout) unified(m mount, proc string) {
	dir := m.point
	if !writable(filepath.Join(dir, "cgroup.procs")) {
		own, err := ownGroup(proc)
		if err != nil {
			return
		}
		rel, err := filepath.Rel(m.root, own)
		if err != nil || strings.HasPrefix(rel, "..") {
			rel = own // a mount that shows the whole tree
		}
		dir = ""
		for at := filepath.Join(m.point, rel); len(at) > len(m.point); at = filepath.Dir(at) {
			if !writable(at) || !writable(filepath.Join(at, "cgroup.procs")) {
				break
			}
			dir = at
		}
	}
	if dir == "" {
		for _, c := range controllers {
			if l.v1[c] == "" {
				l.why[c] = "no control group is delegated to you; start in one with: systemd-run --user --scope -p Delegate=yes claude-bottle ..."
			}
		}
		return
	}
	l.v2 = dir
	// A group below the root hands controllers on only while no process is in it itself.
	occupied := exists(filepath.Join(dir, "cgroup.type")) && len(words(filepath.Join(dir, "cgroup.procs"))) > 0
	handedOn := words(filepath.Join(dir, "cgroup.subtree_control"))
	for _, c := range words(filepath.Join(dir, "cgroup.controllers")) {
		switch {
		case !ours(c):
		case occupied && !slices.Contains(handedOn, c):
			l.why[c] = "processes run in " + dir + " itself, so that groups below it can't have limits"
		default:
			l.v2has[c] = true
		}
	}
}

// ownGroup returns this process's path in the version 2 tree.
func ownGroup(proc string) (string, error) {
	b, err := os.ReadFile(filepath.Join(proc, "cgroup"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path, nil
		}
	}
	return "", os.ErrNotExist
}

func words(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil // no such group any more: it has no controllers
	}
	return strings.Fields(string(b))
}

// By says what enforces a controller's limit: "cgroup v1", "cgroup v2", or "" and why nothing
// does.
func (l Layout) By(controller string) (by, why string) {
	switch {
	case l.v1[controller] != "":
		return "cgroup v1", ""
	case l.v2has[controller]:
		return "cgroup v2", ""
	}
	return "", l.why[controller]
}
