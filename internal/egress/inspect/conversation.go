package inspect

import (
	"bytes"
	"errors"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
)

// Conversation is what a bottle says over one WebSocket: messages, over several of which a secret may
// be cut.
type Conversation struct {
	in    *Inspector
	key   string
	s     policy.Scan
	plain bool         // messages may be overwritten
	long  *scan.Stream // the message at hand, when it comes in parts
	base  int64        // where its part at hand begins
	part  []byte
	j     *judging
}

// Conversation begins one. Its messages go to key, by the rules of s. Plain says that what Say overwrites
// is what goes on.
func (in *Inspector) Conversation(key string, s policy.Scan, plain bool) *Conversation {
	return &Conversation{in: in, key: key, s: s, plain: plain}
}

const aMessage = "a WebSocket message"

// Say looks at the next part of a message before it goes on, and overwrites what the route has
// overwritten. What is found otherwise, or began in a part that is gone, ends the conversation, or is let
// go by the route.
func (c *Conversation) Say(part []byte, last bool) Report {
	c.j, c.part = c.in.judge(c.s), part
	switch {
	case c.long == nil && last:
		c.j.found = c.in.scanner.Scan(c.j.found[:0], part)
		for _, f := range c.j.found {
			c.take(f)
		}
	case c.long == nil:
		c.long = c.in.scanner.Stream(c.take)
		fallthrough
	default:
		_, _ = c.long.Write(part) // never fails
		c.long.Flush()
		c.base += int64(len(part))
	}
	if last {
		c.long, c.base = nil, 0
	}
	c.part = nil
	c.in.remember(c.j, c.key, [][]byte{part})
	return c.j.report()
}

// take decides about a finding in the message, of which the part at hand may be overwritten.
func (c *Conversation) take(f scan.Finding) {
	here := c.plain && f.Start >= c.base && f.End <= c.base+int64(len(c.part))
	if f := (Found{f, aMessage}); c.j.take(f, here) {
		c.j.overwrite(c.part, c.base, f)
	}
}

// Hearing is what an upstream says over one WebSocket.
type Hearing struct {
	echoes literals
	tail   []byte // of the message so far, as it was: the beginning of a credential, perhaps
}

// Hearing begins one, on a route that injects the credential ref. It is nil where there is nothing to look
// for.
func (in *Inspector) Hearing(ref string, s policy.Scan) *Hearing {
	if len(in.echoes[ref]) == 0 || slices.Contains(s.Off, policy.Echo) {
		return nil
	}
	return &Hearing{echoes: in.echoes[ref]}
}

// ErrEcho is a credential of which a part has gone to the bottle when the rest came.
var ErrEcho = errors.New("a WebSocket message carries the injected credential")

// Hear overwrites the credential in the next part of a message and reports whether it was there. The error
// is ErrEcho.
func (h *Hearing) Hear(part []byte, last bool) (found bool, err error) {
	data, gone := part, len(h.tail)
	if gone > 0 {
		data = append(bytes.Clone(h.tail), part...)
	}
	held, found := h.echoes.mask(data)
	if gone > 0 && !bytes.Equal(data[:gone], h.tail) {
		return found, ErrEcho
	}
	copy(part, data[gone:])
	if last {
		held = 0
	}
	h.tail = append(h.tail[:0], data[len(data)-held:]...)
	return found, nil
}
