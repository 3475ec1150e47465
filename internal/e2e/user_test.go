//go:build linux

package e2e_test

// user is an operator other than the one who runs the tests.
type user struct {
	name     string
	uid, gid uint32
}
