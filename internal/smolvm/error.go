package smolvm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// Errors a caller branches on.
var (
	ErrNoMachine = errors.New("there is no such machine")
	ErrExists    = errors.New("there is such a machine already")
)

// Error is a failure that the operator can do something about.
type Error struct {
	Why string
	Fix string // what to type next; may be empty
	is  error
}

func (e *Error) Error() string { return e.Why }

// Hint is the Fix.
func (e *Error) Hint() string { return e.Fix }

func (e *Error) Unwrap() error { return e.is }

// maxWords bounds what is repeated of smolvm's words, in characters.
const maxWords = 800

// explain makes an error of how the program ended and of what it said.
func (t Tool) explain(args []string, said string, err error) error {
	doing := "smolvm " + verb(args)
	text := said
	if i := strings.LastIndex(said, "Error: "); i >= 0 {
		text = said[i+len("Error: "):]
	}
	text = inert.Text(strings.TrimSpace(text), maxWords)
	if text == "" {
		text = err.Error()
	}
	e := &Error{Why: fmt.Sprintf("%s: %s", doing, text)}
	low := strings.ToLower(text)
	switch {
	case strings.HasPrefix(text, "vm not found:"):
		e.is = ErrNoMachine
	case strings.Contains(low, "already exists"):
		e.is = ErrExists
	case strings.Contains(low, "no space left"):
		e.Fix = "free some space where " + t.Data + " lies: claude-bottle cleanup --cache"
	case strings.Contains(low, "kvm permission denied"):
		e.Fix = "sudo usermod -aG kvm $USER, then log in again"
	case strings.Contains(low, "kvm"), strings.Contains(low, "hypervisor"):
		e.Fix = "see what this host lacks: claude-bottle doctor"
	case strings.Contains(low, "database"):
		e.Fix = "another smolvm may hold its database: end it, then try again"
	}
	if why, _, _ := KVM(); e.Fix == "" && why != "" && args[0] == "machine" && len(args) > 1 && args[1] == "start" {
		e.Fix = why + "; see: claude-bottle doctor"
	}
	return e
}
