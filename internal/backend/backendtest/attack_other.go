//go:build !linux

package backendtest

import "errors"

// attack runs in a bottle, which is always Linux.
func attack([]string) error { return errors.New("attacks run in a bottle, on Linux") }
