package native

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// tailSize is how much of what cork says last is kept. It says nothing unless it fails.
const tailSize = 8 << 10

// tail keeps the beginning, up to its size, of a process's error output: the first
// words of a crash are the ones that tell.
type tail struct {
	mu   sync.Mutex
	text []byte
	done chan struct{}
}

// newTail returns a tail and the file the process is to write to, which is the caller's to close.
func newTail() (*tail, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	t := &tail{done: make(chan struct{})}
	go func() { // ends when the process and all it gave the pipe to have; wait waits for it
		defer close(t.done)
		defer r.Close() // only read
		buf := make([]byte, 1024)
		for {
			n, err := r.Read(buf)
			t.mu.Lock()
			t.text = append(t.text, buf[:min(n, tailSize-len(t.text))]...)
			t.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return t, w, nil
}

func (t *tail) wait() { <-t.done }

// last returns the words as one line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.FieldsFunc(string(t.text), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
