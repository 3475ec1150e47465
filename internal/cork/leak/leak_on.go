//go:build leaktest

// Package leak lets the self-test's own test build bottles that leak, one hole each, to see every
// hole refused. This is the leaky build: CLAUDE_BOTTLE_LEAK names the holes, separated by commas,
// each "name" or "name=argument".
package leak

import (
	"os"
	"strings"
)

const variable = "CLAUDE_BOTTLE_LEAK"

// On reports whether the named hole is to be left open.
func On(name string) bool {
	if name == "" {
		return false // what has no hole; an unset variable names no hole either
	}
	for hole := range strings.SplitSeq(os.Getenv(variable), ",") {
		if n, _, _ := strings.Cut(hole, "="); n == name {
			return true
		}
	}
	return false
}

// Env is what a child needs to leak as its parent does.
func Env() []string { return []string{variable + "=" + os.Getenv(variable)} }

// Value returns the argument of a hole given as "name=argument".
func Value(name string) string {
	for hole := range strings.SplitSeq(os.Getenv(variable), ",") {
		if n, v, _ := strings.Cut(hole, "="); n == name {
			return v
		}
	}
	return ""
}
