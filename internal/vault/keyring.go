package vault

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/zalando/go-keyring"
)

// service groups our entries in the keyring.
const service = "claude-bottle"

// keyringPatience bounds one question to the keyring: long enough for an operator to unlock it,
// short enough that a login on a machine without a desktop, where the unlock dialog goes nowhere,
// ends in the file store.
const keyringPatience = 30 * time.Second

// keyringUsable reports whether asking the keyring starts no program and can be answered.
func (v *Vault) keyringUsable() bool {
	switch {
	case v.o.NoKeyring:
		return false
	case runtime.GOOS == "darwin":
		return true
	case runtime.GOOS != "linux":
		return false
	}
	for address := range strings.SplitSeq(v.o.Bus, ";") {
		rest, ok := strings.CutPrefix(address, "unix:")
		if !ok {
			continue
		}
		for option := range strings.SplitSeq(rest, ",") {
			path, ok := strings.CutPrefix(option, "path=")
			if !ok {
				continue
			}
			path, err := url.PathUnescape(path) // the bus's own escapes are percent signs too
			if err != nil {
				continue
			}
			if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
				return true
			}
		}
	}
	return false
}

func keyringSet(ctx context.Context, login string, value secret.Value) error {
	_, err := ask(ctx, func() (string, error) { return "", keyring.Set(service, login, value.Reveal()) })
	return err
}

func keyringGet(ctx context.Context, login string) (secret.Value, error) {
	text, err := ask(ctx, func() (string, error) { return keyring.Get(service, login) })
	if errors.Is(err, keyring.ErrNotFound) {
		return secret.Value{}, fmt.Errorf("login %s: the system keyring has lost it, log in again: %w", login, ErrNotFound)
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("login %s: system keyring: %w", login, err)
	}
	return secret.New(text), nil
}

func keyringDelete(ctx context.Context, login string) error {
	_, err := ask(ctx, func() (string, error) { return "", keyring.Delete(service, login) })
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return fmt.Errorf("login %s: system keyring: %w", login, err)
	}
	return nil
}

// ask calls f, which can't be cancelled, and stops waiting when ctx or patience ends. The
// goroutine of an unanswered question then lives until the keyring answers or the process, a
// short-lived command, ends; it touches nothing of ours.
func ask(ctx context.Context, f func() (string, error)) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keyringPatience, errors.New("it did not answer: is it locked?"))
	defer cancel()
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := f()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return a.text, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
