package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Remove removes the folder and all in it, agent's home and workspace included. It refuses, with
// an error wrapping ErrLocked, while a warden lives. A crash on the way leaves a folder that List
// no longer shows and removes later.
func (d *Dir) Remove(ctx context.Context) error {
	lock, err := d.Lock(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove bottle %s: %w", d.id, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return d.RemoveHeld(lock)
}

// RemoveHeld is Remove by whoever holds the folder's lock, which is released at the end: those who
// wait for the release find nothing.
func (d *Dir) RemoveHeld(lock *Lock) error {
	defer lock.Release()
	tmp, err := os.MkdirTemp(d.store.root, removing+d.id.String()+"-")
	if err != nil {
		return fmt.Errorf("remove bottle %s: %w", d.id, err)
	}
	d.store.step("remove: place made")
	// The bottle leaves its name in one step.
	if err := os.Rename(d.path, filepath.Join(tmp, d.id.String())); err != nil {
		_ = os.Remove(tmp) // empty, and swept later if this fails
		return fmt.Errorf("remove bottle %s: %w", d.id, err)
	}
	d.store.step("remove: renamed")
	if err := RemoveTree(tmp); err != nil {
		return fmt.Errorf("remove bottle %s: %w", d.id, err)
	}
	return nil
}

// RemoveTree removes a file or folder that was the agent's to shape: nothing in it is followed, and
// folders it made unwritable are opened up first.
func RemoveTree(path string) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	name := filepath.Base(path)
	err = root.RemoveAll(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	openUp(sub, ".")
	return root.RemoveAll(name)
}

// openUp makes the folders below dir ours to empty. What it can't change, RemoveAll will name.
func openUp(root *os.Root, dir string) {
	_ = root.Chmod(dir, 0o700)
	f, err := root.Open(dir)
	if err != nil {
		return
	}
	entries, _ := f.ReadDir(-1)
	_ = f.Close() // nothing was written to it
	for _, e := range entries {
		if e.IsDir() {
			openUp(root, filepath.Join(dir, e.Name()))
		}
	}
}
