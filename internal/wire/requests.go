package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The kinds of streams on a wire. The warden opens the first four, cork the rest.
const (
	KindExec  = "exec"  // header Command; frames both ways
	KindPut   = "put"   // header PutRequest; a tar from warden to cork, then an empty answer
	KindGet   = "get"   // header GetRequest; a tar from cork to warden
	KindProbe = "probe" // header ProbeRequest; []ProbeResult as JSON
	KindProxy = "proxy" // a connection to the explicit proxy
	KindAny   = "any"   // any other connection; header AnyHeader
	KindDNS   = "dns"   // datagrams, see ServeWays
)

// PutRequest is the header of a KindPut stream.
type PutRequest struct {
	Dir string `json:"dir"` // absolute; must exist
}

// GetRequest is the header of a KindGet stream.
type GetRequest struct {
	Path string `json:"path"` // absolute: a file or a folder
}

// maxProbeAnswer bounds the answer to a ProbeRequest, in bytes of JSON.
const maxProbeAnswer = 1 << 20

// Put unpacks a tar into the folder dir of the bottle, as the agent and with nothing but the
// agent's rights. It holds regular files, folders and symbolic links; anything else in it, or a
// name that leads out of dir, is refused. Put returns when everything is in place; on error, what
// was unpacked before stays.
func Put(ctx context.Context, s *Session, dir string, tarStream io.Reader) error {
	st, err := s.Open(ctx, KindPut, PutRequest{dir})
	if err != nil {
		return err
	}
	defer st.Close()
	defer resetWhenDone(ctx, st)()
	_, err = io.Copy(st, tarStream)
	var refused *ResetError
	if err != nil && !errors.As(err, &refused) {
		st.Reset("the archive could not be read")
	}
	if err == nil {
		err = st.CloseWrite()
	}
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(st, 1))
	}
	if err != nil {
		return fmt.Errorf("copy into %s of the bottle: %w", dir, causeOf(ctx, err))
	}
	return nil
}

// Get returns a tar of path in the bottle, read as the agent: one entry named after it if it is a
// file, else the folder's content under relative names. Its names and content are the agent's:
// unpack it with os.Root. The caller closes it; an error while reading means it is incomplete.
func Get(ctx context.Context, s *Session, path string) (io.ReadCloser, error) {
	st, err := s.Open(ctx, KindGet, GetRequest{path})
	if err != nil {
		return nil, err
	}
	a := &archive{Reader: bufio.NewReader(st), st: st, stop: resetWhenDone(ctx, st)}
	// A tar is never empty: its first byte tells that the path could be opened at all.
	if _, err := a.Peek(1); err != nil {
		_ = a.Close() // the error is known
		return nil, fmt.Errorf("copy %s out of the bottle: %w", path, causeOf(ctx, err))
	}
	return a, nil
}

type archive struct {
	*bufio.Reader
	st   *Stream
	stop func()
}

func (a *archive) Close() error {
	a.stop()
	return a.st.Close()
}

// Probe has cork run the launch self-test from inside, under the agent's confinement.
func Probe(ctx context.Context, s *Session, r ProbeRequest) ([]ProbeResult, error) {
	st, err := s.Open(ctx, KindProbe, r)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	defer resetWhenDone(ctx, st)()
	b, err := io.ReadAll(io.LimitReader(st, maxProbeAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("self-test: %w", causeOf(ctx, err))
	}
	if len(b) > maxProbeAnswer {
		return nil, fmt.Errorf("self-test: the answer is longer than %d bytes", maxProbeAnswer)
	}
	var results []ProbeResult
	if err := json.Unmarshal(b, &results); err != nil {
		return nil, fmt.Errorf("self-test: the answer can't be read: %w", err)
	}
	return results, nil
}

// resetWhenDone resets st when ctx ends, until the returned function is called.
func resetWhenDone(ctx context.Context, st *Stream) func() {
	stop := context.AfterFunc(ctx, func() { st.Reset("the request was cancelled") })
	return func() { stop() }
}

// causeOf replaces an error that ctx's end brought about by ctx's cause.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
