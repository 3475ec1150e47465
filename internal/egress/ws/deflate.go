package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	extension       = "permessage-deflate"
	extensionHeader = "Sec-Websocket-Extensions"
	// history is how far back compressed data may point, in bytes: RFC 1951.
	history = 32 << 10
	// maxOffers bounds how many of a client's offers are looked at.
	maxOffers = 8
)

// Deflate is a permessage-deflate that was agreed on: RFC 7692.
type Deflate struct {
	// ClientAlone and ServerAlone say that a side's messages are compressed each on its own.
	ClientAlone, ServerAlone bool
}

func (d *Deflate) takesOver(dir Direction) bool {
	if dir == Out {
		return !d.ClientAlone
	}
	return !d.ServerAlone
}

// Offer reduces the extensions h asks for to those a Relay understands, and reports whether any is
// left.
func Offer(h http.Header) bool {
	var kept []string
	for offer := range strings.SplitSeq(strings.Join(h[extensionHeader], ","), ",") {
		if _, ok := parseOffer(offer); ok && len(kept) < maxOffers {
			kept = append(kept, strings.TrimSpace(offer))
		}
	}
	if len(kept) == 0 {
		h.Del(extensionHeader)
		return false
	}
	h.Set(extensionHeader, strings.Join(kept, ", "))
	return true
}

// Agreed returns what a server's answer switched on; nil is no compression. An answer with anything
// in it that was not offered is an error.
func Agreed(offered bool, answer http.Header) (*Deflate, error) {
	text := strings.Join(answer[extensionHeader], ",")
	if text == "" {
		return nil, nil
	}
	d, ok := parseOffer(text)
	if !offered || !ok {
		return nil, errors.New("it switched on WebSocket extensions nobody offered")
	}
	return &d, nil
}

// parseOffer reads one element of Sec-WebSocket-Extensions: RFC 7692 section 7.1. The window sizes
// only ever make windows smaller than the one we keep.
func parseOffer(s string) (d Deflate, ok bool) {
	name, rest, more := strings.Cut(s, ";")
	if !strings.EqualFold(strings.TrimSpace(name), extension) {
		return d, false
	}
	seen := make(map[string]bool)
	for more {
		var param string
		param, rest, more = strings.Cut(rest, ";")
		key, value, has := strings.Cut(strings.TrimSpace(param), "=")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(value), `"`)
		if seen[key] {
			return d, false
		}
		seen[key] = true
		switch key {
		case "client_no_context_takeover":
			d.ClientAlone = true
			ok = !has
		case "server_no_context_takeover":
			d.ServerAlone = true
			ok = !has
		case "client_max_window_bits", "server_max_window_bits":
			n, err := strconv.Atoi(value)
			ok = !has && key[0] == 'c' || has && err == nil && n >= 8 && n <= 15 && value[0] != '0' && value[0] != '+'
		default:
			ok = false
		}
		if !ok {
			return d, false
		}
	}
	return d, true
}

// tail ends a compressed message: the four bytes its sender cut off, and an empty last block.
var tail = []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff}

// inflater inflates one direction's messages.
type inflater struct {
	takeover bool
	window   []byte // the last bytes inflated, at most history
	z        io.ReadCloser
	src      *payload
	tail     bytes.Reader
}

func newInflater(takeover bool) *inflater { return &inflater{takeover: takeover} }

// begin starts a message.
func (f *inflater) begin(src *payload) io.Reader {
	f.src = src
	f.tail.Reset(tail)
	if f.z == nil {
		f.z = flate.NewReaderDict(f.compressed(), f.window)
	} else {
		_ = f.z.(flate.Resetter).Reset(f.compressed(), f.window) // it never fails
	}
	return (*inflated)(f)
}

// end checks that a message's compressed data ended where its payload did. A sender may have set
// the final bit itself; then a byte of padding remains (RFC 7692 section 7.2.3.4), and nothing that
// could be read in another way.
func (f *inflater) end(src *payload) error {
	b, err := src.ReadByte()
	if err == nil && b == 0 {
		_, err = src.ReadByte()
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return &Fault{Code: codeData, Why: "a compressed message goes on after its end"}
}

func (f *inflater) compressed() io.Reader { return (*compressed)(f) }

// compressed is a message's payload with the tail its sender cut off.
type compressed inflater

func (c *compressed) Read(p []byte) (int, error) {
	if n, err := c.src.Read(p); !errors.Is(err, io.EOF) {
		return n, err
	}
	return c.tail.Read(p)
}

// ReadByte reads the next byte.
func (c *compressed) ReadByte() (byte, error) {
	if b, err := c.src.ReadByte(); !errors.Is(err, io.EOF) {
		return b, err
	}
	return c.tail.ReadByte()
}

// inflated is the content of the message.
type inflated inflater

func (f *inflated) Read(p []byte) (int, error) {
	n, err := f.z.Read(p)
	if f.takeover {
		f.window = append(f.window, p[:n]...)
		if over := len(f.window) - history; over > history {
			f.window = append(f.window[:0], f.window[over:]...)
		}
	}
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) && f.tail.Len() == 0 {
		err = &Fault{Code: codeData, Why: "a compressed message is corrupt"}
	}
	return n, err
}
