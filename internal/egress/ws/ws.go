// Package ws relays WebSockets (RFC 6455) message by message. Between a client and a server it
// parses every frame both ways as strictly as the RFC has it, inflates permessage-deflate (RFC
// 7692), shows the content to an Inspect before it goes on, and writes frames of its own: what
// arrives on the other side is the same messages, in frames of up to Window bytes, however they
// were cut up. Without an Inspect the parsing is the same.
//
//	offered := ws.Offer(r.Header)        // before the handshake goes upstream
//	d, err := ws.Agreed(offered, answer) // what the server's answer switched on
//	err = ws.Relay{Deflate: d, Inspect: look}.Run(ctx, client, upstream)
//
// A message is held back until its end, or a Window of it, was looked at. A refused one is never
// complete for the other side, and both sides are told in a close frame.
package ws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Direction is which way a message goes.
type Direction uint8

// The directions.
const (
	Out Direction = iota // from the client, the bottle, to the server
	In
)

// Opcode is what a frame is: RFC 6455 section 5.2.
type Opcode byte

// The opcodes.
const (
	continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

func (o Opcode) control() bool { return o >= Close }

const (
	// Window is how much of a message is held back and looked at together, in bytes, inflated.
	Window = 64 << 10
	// MaxMessage bounds a message, in bytes, inflated.
	MaxMessage = 64 << 20
	// parting is how long the other side may take to answer a close frame, or to read one.
	parting = 5 * time.Second
	// drained is how much is read and dropped of a client that is told to stop: closing with bytes
	// unread would reset the connection, and the close frame with it.
	drained = 1 << 20
)

// Close codes: RFC 6455 section 7.4.1.
const (
	codeProtocol = 1002
	codeData     = 1007
	codePolicy   = 1008
	codeTooBig   = 1009
)

// Fault is why a WebSocket was ended here.
type Fault struct {
	Code int // the close code both sides are told
	Why  string
	// Err is what Inspect returned, when it was that.
	Err error
}

func (f *Fault) Error() string { return f.Why }

// Unwrap returns what Inspect returned.
func (f *Fault) Unwrap() error { return f.Err }

func protocol(why string) *Fault { return &Fault{Code: codeProtocol, Why: why} }

// Inspect looks at content before it goes on, and refuses it with an error, whose text both sides
// are told. A message comes in consecutive parts of up to Window bytes, inflated, of which the final
// one has last set; part is only valid during the call. The payloads of control frames, a close
// frame's reason included, are shown too, each whole, perhaps between two parts of a message. Without
// compression part is what goes on, and may be overwritten; else it is a copy. Calls for one direction
// don't overlap; those for two do.
type Inspect func(dir Direction, op Opcode, part []byte, last bool) error

// Relay is how to carry one WebSocket.
type Relay struct {
	// Deflate is what the handshake agreed on; nil without compression.
	Deflate *Deflate
	// Inspect may be nil.
	Inspect Inspect
}

// Run carries messages between client and server until the WebSocket ends, and closes both. It
// returns nil when it was closed by a close frame or by one side leaving between messages, an error
// holding a *Fault when it was ended here, and otherwise what went wrong with a connection.
func (r Relay) Run(ctx context.Context, client, server io.ReadWriteCloser) error {
	shut := sync.OnceFunc(func() {
		_ = client.Close() // both are at an end: what their closing says changes nothing
		_ = server.Close()
	})
	stop := context.AfterFunc(ctx, shut)
	defer stop()
	toClient, toServer := &writer{w: client}, &writer{w: server, mask: true}
	out := newPipe(Out, client, toServer, r)
	in := newPipe(In, server, toClient, r)

	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	finish := func(p *pipe) {
		err := p.run()
		if err == nil {
			// A close frame went on. The other side answers it, or has done so.
			time.AfterFunc(parting, shut)
			return
		}
		once.Do(func() {
			first = err
			fault, ok := errors.AsType[*Fault](err)
			if !ok {
				shut()
				return
			}
			// A side that does not read its close frame doesn't keep the other one waiting.
			time.AfterFunc(parting, shut)
			var told sync.WaitGroup
			for _, w := range []*writer{toClient, toServer} {
				told.Go(func() { _ = w.close(fault.Code, fault.Why) }) // a side that left needs no words
			}
			told.Wait()
			if p.dir == Out {
				_, _ = io.CopyN(io.Discard, p.r, drained) // until it leaves, or its time is up
			}
			shut()
		})
	}
	wg.Go(func() { finish(out) })
	wg.Go(func() { finish(in) })
	wg.Wait()
	shut()
	if errors.Is(first, io.EOF) || out.closed && in.closed {
		return nil
	}
	if first != nil {
		return fmt.Errorf("websocket: %w", first)
	}
	return nil
}
