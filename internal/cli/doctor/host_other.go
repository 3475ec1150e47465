//go:build !linux

package doctor

import (
	"context"
	"runtime"
)

// Host tells that bottles need another backend here: namespaces are Linux's.
func Host(context.Context, string, ...string) []Check {
	return []Check{{"kernel", Warn, "the native backend needs Linux; this is " + runtime.GOOS, ""}}
}
