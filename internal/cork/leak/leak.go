//go:build !leaktest

// Package leak lets the self-test's own test build bottles that leak, one hole each, to see every
// hole refused. Only a binary built with the tag leaktest can: in any other build On is a
// constant, the code behind it is not compiled in, and no variable is read.
package leak

// On reports whether the named hole is to be left open: never.
func On(string) bool { return false }

// Env is what a child needs to leak as its parent does: nothing.
func Env() []string { return nil }

// Value returns the argument of a hole given as "name=argument": there is none.
func Value(string) string { return "" }
