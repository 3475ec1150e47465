package demo

import (
	"fmt"
	"strings"
)

// marker parts the outputs of the acts when a shell plays the agent.
const marker = "-- act "

// shellScript is the whole play for the shell: the acts, then one call of the model's API, which
// needs a program that speaks TLS.
func (s *show) shellScript() string {
	var b strings.Builder
	for i, a := range s.acts {
		fmt.Fprintf(&b, "echo '%s%d'\n(%s) 2>&1\n", marker, i, a.command)
	}
	fmt.Fprintf(&b, "echo '%s%d'\n", marker, len(s.acts))
	b.WriteString(`curl -sS https://api.anthropic.com/v1/messages -H "x-api-key: $` + credentialVar + `" \
  -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
  -d '{"model":"claude-stand-in","max_tokens":64,"messages":[{"role":"user","content":"Hello?"}]}'
`)
	return b.String()
}

// shellOutputs sorts what the script printed to the acts; the last piece is the model's answer.
func (s *show) shellOutputs(out string) {
	s.stage.mu.Lock()
	defer s.stage.mu.Unlock()
	for i, piece := range strings.Split(out, marker)[1:] {
		_, text, _ := strings.Cut(piece, "\n")
		if i < len(s.acts) {
			s.stage.outputs[i] = text
		} else {
			s.said = text
		}
	}
}
