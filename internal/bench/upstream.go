package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/claude-bottle/claude-bottle/internal/egress/authority"
)

// Targets that the upstream knows. Any other is answered with small JSON once the request's body
// has been read.
const (
	targetBytes  = "/bytes/"                        // followed by how many bytes to answer
	targetEvents = modelTarget + "?beta=true&hold=" // followed by how long the stream stays open after its first event
)

// eventHold is how long a measured event stream stays open after its first event. Who holds answers
// back until they end is found out by it.
const eventHold = 10 * time.Millisecond

// event is what an event stream begins with.
const event = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n"

// smallAnswer is for small requests: a model's, with what it cost.
var smallAnswer = jsonAnswer(`{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"` +
	strings.Repeat("The table lists each package with its licence and the version that was tested. ", 8) +
	`"}],"stop_reason":"end_turn","usage":{"input_tokens":42,"output_tokens":117}}`)

func jsonAnswer(body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// upstreamMain is the upstream as a process of its own, the same one for every contender. It
// serves over TLS for whatever name it is asked for, and in the clear.
func upstreamMain(ctx context.Context) error {
	ca, err := authority.New(time.Now())
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return ca.Leaf(h.ServerName)
	}}
	if err := sayHello(hello{TLS: secure.Addr().String(), Plain: plain.Addr().String(), CA: string(ca.PEM())}); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range []net.Listener{tls.NewListener(secure, config), plain} {
		context.AfterFunc(ctx, func() { _ = l.Close() }) // the accept below sees it closed
		g.Go(func() error {
			for {
				c, err := l.Accept()
				if err != nil {
					return context.Cause(ctx)
				}
				go func() { // it ends with its connection, or with the process
					defer func() { _ = c.Close() }() // whoever is there sees it end
					_ = answerAll(c)                 // they left: what the load lacks by that, it says itself
				}()
			}
		})
	}
	return g.Wait()
}

// answerAll answers the requests on c until one side has enough.
func answerAll(c net.Conn) error {
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		h, err := readHead(r)
		if err != nil {
			return err
		}
		if _, err := skipBody(r, h); err != nil {
			return err
		}
		_, target, _ := strings.Cut(h.line, " ")
		target, _, _ = strings.Cut(target, " ")
		switch {
		case strings.HasPrefix(target, targetEvents):
			err = answerEvents(c, strings.TrimPrefix(target, targetEvents))
		case strings.HasPrefix(target, targetBytes):
			err = answerBytes(c, strings.TrimPrefix(target, targetBytes))
		default:
			_, err = c.Write(smallAnswer)
		}
		if err != nil {
			return err
		}
	}
}

// noise can't be compressed and looks like nothing.
var noise = func() []byte {
	b := make([]byte, 256<<10)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return b
}()

func answerBytes(c net.Conn, count string) error {
	left, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", left); err != nil {
		return err
	}
	for left > 0 {
		n, err := c.Write(noise[:min(left, int64(len(noise)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

func answerEvents(c net.Conn, hold string) error {
	open, err := time.ParseDuration(hold)
	if err != nil {
		return err
	}
	const start = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	if _, err := fmt.Fprintf(c, "%s%x\r\n%s\r\n", start, len(event), event); err != nil {
		return err
	}
	time.Sleep(open)
	_, err = c.Write([]byte("0\r\n\r\n"))
	return err
}
