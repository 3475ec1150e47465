package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// maxAnswer bounds a typed or piped answer, in bytes.
const maxAnswer = 64 << 10

// confirm asks a yes/no question on the operator's terminal and reports whether the answer was
// yes. It reads the terminal, not standard input, so that nothing piped in can say yes.
func (s *System) confirm(question string) (bool, error) {
	tty, err := s.terminal("--yes answers it beforehand")
	if err != nil {
		return false, err
	}
	defer tty.Close() // nothing written is buffered
	putf(tty, "%s [y/N] ", question)
	line, err := bufio.NewReader(io.LimitReader(tty, maxAnswer)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read your answer: %w", err)
	}
	switch strings.TrimSpace(line) {
	case "y", "Y", "yes", "YES":
		return true, nil
	}
	return false, nil
}

// askHidden asks for a value on the operator's terminal without showing what is typed.
func (s *System) askHidden(question string) (secret.Value, error) {
	tty, err := s.terminal("run it where there is one")
	if err != nil {
		return secret.Value{}, err
	}
	defer tty.Close() // nothing written is buffered
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return secret.Value{}, fmt.Errorf("read the terminal's state: %w", err)
	}
	defer restoreOnSignal(fd, before)()
	// Whoever answers at once must find the echo off already, for which a raw terminal does.
	if _, err := term.MakeRaw(fd); err != nil {
		return secret.Value{}, fmt.Errorf("switch the terminal's echo off: %w", err)
	}
	putf(tty, "%s ", question)
	b, err := term.ReadPassword(fd)
	if rerr := term.Restore(fd, before); err == nil {
		err = rerr
	}
	putln(tty)
	if err != nil {
		return secret.Value{}, fmt.Errorf("read your answer: %w", err)
	}
	return secret.New(strings.TrimSpace(string(b))), nil
}

// restoreOnSignal shows typed text again when a signal ends the program in the middle of a hidden
// question, and then lets the signal do its work. The returned function ends the watch.
func restoreOnSignal(fd int, before *term.State) (stop func()) {
	signals := make(chan os.Signal, 1)
	watched := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	signal.Notify(signals, watched...)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case sig := <-signals:
			_ = term.Restore(fd, before) // the terminal may be gone, which is why we end
			signal.Reset(watched...)
			if n, ok := sig.(syscall.Signal); ok {
				_ = syscall.Kill(os.Getpid(), n) // it is ours
			}
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
		<-ended
	}
}

func (s *System) terminal(instead string) (*os.File, error) {
	tty, err := s.OpenTTY()
	if err != nil {
		return nil, withHint(errors.New("there is no terminal to ask on"), "%s", instead)
	}
	return tty, nil
}

// readSecret reads a credential piped into standard input.
func (s *System) readSecret() (secret.Value, error) {
	b, err := io.ReadAll(io.LimitReader(s.Stdin, maxAnswer+1))
	if err != nil {
		return secret.Value{}, fmt.Errorf("read standard input: %w", err)
	}
	if len(b) > maxAnswer {
		return secret.Value{}, fmt.Errorf("standard input holds more than %d bytes: pipe in the token alone", maxAnswer)
	}
	return secret.New(strings.TrimSpace(string(b))), nil
}
