package spawn

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// wordsSize is how much of what a process says is kept. Ours say nothing unless they fail.
const wordsSize = 8 << 10

// Words is a writer that keeps the beginning of a process's error output, up to 8 KiB: the first
// words of a crash are the ones that tell. The zero Words is ready and safe for concurrent use.
type Words struct {
	mu   sync.Mutex
	text []byte
	done chan struct{} // of Pipe
}

// Write implements io.Writer; it never fails.
func (w *Words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p[:min(len(p), wordsSize-len(w.text))]...)
	return len(p), nil
}

// Pipe returns a file for a process to write to, which is the caller's to close once the process
// has it. Wait waits for its end.
func (w *Words) Pipe() (*os.File, error) {
	r, f, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	w.done = make(chan struct{})
	go func() { // ends when the process and all it gave the pipe to have; Wait waits for it
		defer close(w.done)
		defer r.Close() // only read
		buf := make([]byte, 1024)
		for {
			n, err := r.Read(buf)
			_, _ = w.Write(buf[:n]) // never fails
			if err != nil {
				return
			}
		}
	}()
	return f, nil
}

// Wait returns when nobody has Pipe's file any more.
func (w *Words) Wait() {
	if w.done != nil {
		<-w.done
	}
}

// LastWords bounds how long what a process said is waited for after its end. What is in a pipe by then needs
// a moment to be read; a process that the ended one left behind may have the pipe for ever.
const LastWords = 5 * time.Second

// Settle is Wait for at most LastWords.
func (w *Words) Settle() {
	if w.done == nil {
		return
	}
	select {
	case <-w.done:
	case <-time.After(LastWords):
	}
}

// String returns the words as one line.
func (w *Words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(strings.FieldsFunc(string(w.text), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
