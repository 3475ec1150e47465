package unpack

import (
	"errors"
	"io"
	"iter"
)

// errAborted ends a reader whose bytes will not come.
var errAborted = errors.New("aborted")

// A pump lets bytes be written to code that reads. The two take turns as coroutines: when Write
// returns, the reading side has taken all of it and waits for more, or is done. It runs no code but
// within calls of its methods. Either close or abort must end it.
type pump struct {
	resume func() (struct{}, bool)
	stop   func()
	chunk  []byte // what is written and not yet read
	ended  bool
	done   bool
	err    error // of run, once done
}

// newPump makes one for run, which gets the written bytes and then io.EOF.
func newPump(run func(io.Reader) error) *pump {
	p := &pump{}
	p.resume, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		p.err = run(&pumpReader{pump: p, yield: yield})
		p.done = true
	})
	return p
}

type pumpReader struct {
	*pump
	yield   func(struct{}) bool
	aborted bool
}

func (r *pumpReader) Read(b []byte) (int, error) {
	for len(r.chunk) == 0 {
		if r.aborted {
			return 0, errAborted
		}
		if r.ended {
			return 0, io.EOF
		}
		r.aborted = !r.yield(struct{}{})
	}
	n := copy(b, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// write hands b on. It returns run's error once run has ended, and drops what is written after.
func (p *pump) write(b []byte) error {
	if !p.done && len(b) > 0 {
		p.chunk = b
		p.resume()
		p.chunk = nil
	}
	return p.err
}

// close ends the input and returns run's error.
func (p *pump) close() error {
	if !p.done {
		p.ended = true
		p.resume()
		p.stop()
	}
	return p.err
}

// abort ends run where it is.
func (p *pump) abort() {
	if p.done {
		return
	}
	p.stop()
	if !p.done { // run was never started
		p.done, p.err = true, errAborted
	}
}
