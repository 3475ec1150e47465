package smolmachines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/carry"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/smolvm"
	"github.com/claude-bottle/claude-bottle/internal/spawn"
)

// mountName is where mount i of a bottle is in bottleDir.
func mountName(i int) string { return path.Join("mounts", strconv.Itoa(i)) }

// bringHome copies the folders out of a machine. One that has ended is started for it, and one in
// which something still runs is started again: nothing of the agent's may write meanwhile.
func bringHome(ctx context.Context, t smolvm.Tool, id bottle.ID, folders []carry.Folder) error {
	name := machineName(id)
	var err error
	for again := range 2 {
		if again > 0 {
			if serr := t.Stop(ctx, name); serr != nil {
				return errors.Join(err, serr)
			}
		}
		if err = t.Start(ctx, name); err == nil {
			err = drainAll(ctx, t, name, folders)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("copy the bottle's folders out of machine %s, which is kept: %w", name, err)
}

func drainAll(ctx context.Context, t smolvm.Tool, name string, folders []carry.Folder) error {
	for i, f := range folders {
		if f.Source == "" || !carry.Awaited(f.Source) {
			continue
		}
		if err := drainOne(ctx, t, name, i, f); err != nil {
			return fmt.Errorf("%s: %w", f.Target, err)
		}
	}
	return nil
}

// drainOne copies one folder out. What it holds here is replaced only when all of it has come.
func drainOne(ctx context.Context, t smolvm.Tool, name string, i int, f carry.Folder) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	words := &spawn.Words{}
	cmd := t.Exec(ctx, name, corkPath, backend.CorkCommand, Name, verbDrain, mountName(i))
	cmd.Stdout, cmd.Stderr = w, words
	var failed error // why, once ended is closed
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := cmd.Run(); err != nil {
			failed = t.ExecError(words.String(), err)
		}
		_ = w.CloseWithError(failed) // never fails
	}()
	err := carry.Home(f.Source, r)
	_ = r.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		cancel() // the program would wait for ever for somebody to read
	}
	<-ended
	if err == nil {
		err = failed
	}
	return err
}
