package inspect

import (
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
)

// Conversation is what a bottle says over one WebSocket: messages, over several of which a secret may
// be cut.
type Conversation struct {
	in   *Inspector
	key  string
	s    policy.Scan
	long *scan.Stream // the message at hand, when it comes in parts
	j    *judging
}

// Conversation begins one. Its messages go to key, by the rules of s.
func (in *Inspector) Conversation(key string, s policy.Scan) *Conversation {
	return &Conversation{in: in, key: key, s: s}
}

const aMessage = "a WebSocket message"

// Say looks at the next part of a message, before it goes on. Nothing is replaced in a message: what
// is found ends the conversation, or is let go by the route.
func (c *Conversation) Say(part []byte, last bool) Report {
	c.j = c.in.judge(c.s)
	switch {
	case c.long == nil && last:
		c.j.look(aMessage, part)
	case c.long == nil:
		c.long = c.in.scanner.Stream(func(f scan.Finding) { c.j.take(Found{f, aMessage}, false) })
		fallthrough
	default:
		_, _ = c.long.Write(part) // never fails
		c.long.Flush()
	}
	if last {
		c.long = nil
	}
	c.in.remember(c.j, c.key, [][]byte{part})
	return c.j.report()
}
