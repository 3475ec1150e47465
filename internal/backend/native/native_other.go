//go:build !linux

package native

import (
	"context"
	"fmt"
	"runtime"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

const elsewhere = "the native backend is made of Linux namespaces"

// Backend is the native backend where there is none: it knows nothing and starts nothing.
type Backend struct{}

// New returns the backend; exe is not used here.
func New(string) *Backend { return &Backend{} }

// Name implements backend.Backend.
func (*Backend) Name() string { return Name }

// Start implements backend.Backend; it always fails with ErrUnavailable.
func (*Backend) Start(context.Context, backend.Spec, func(string)) (backend.Bottle, error) {
	return nil, fmt.Errorf("%w: %s, and this is %s; choose another one with --backend", backend.ErrUnavailable, elsewhere, runtime.GOOS)
}

// Found implements backend.Backend.
func (*Backend) Found(context.Context) ([]backend.Leftover, error) { return nil, nil }

// Remove implements backend.Backend.
func (*Backend) Remove(context.Context, bottle.ID) error { return nil }

// Facts says that the backend can't run here.
func Facts() backend.Facts {
	return backend.Facts{Name: Name, Why: elsewhere, Fix: "choose another backend with --backend"}
}

// CorkMain is process 1 of a native bottle, of which there are none here.
func CorkMain() int { return 1 }
