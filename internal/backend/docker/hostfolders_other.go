//go:build !linux

package docker

import (
	"context"
	"errors"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/guest"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// arrange lays out the bottle's folders: they are carried, since no engine's Linux is this host.
func (s *start) arrange(ctx context.Context) (folders, error) { return s.carry(ctx) }

var errNotLocal = errors.New("no engine's Linux is this host")

func (s *start) listen() error { return errNotLocal }

func (s *start) meetSocket(context.Context, *Bottle) (guest.Report, error) {
	return guest.Report{}, errNotLocal
}

// lentMounts finds none: nothing is lent here.
func lentMounts() (map[bottle.ID][]string, error) { return nil, nil }

// takeBack has nothing to take back: nothing is lent here.
func takeBack([]string) error { return nil }

// watchDisk has no folder of this host to watch.
func watchDisk(context.Context, []backend.Mount, int64) error { return nil }

// CorkMain is the first process of a container, which is a Linux.
func CorkMain([]string) int { return 1 }
