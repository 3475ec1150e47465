package standin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// messagesRequest is the part of a Messages request the stand-in judges.
type messagesRequest struct {
	Model     string    `json:"model"`
	MaxTokens *int      `json:"max_tokens"`
	Stream    bool      `json:"stream"`
	Messages  []message `json:"messages"`
	Tools     []struct {
		Name string `json:"name"`
	} `json:"tools"`
}

type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

// content is a list of blocks; a bare string is one text block.
type content []block

type block struct {
	Type      string  `json:"type"`
	Text      string  `json:"text"`
	ID        string  `json:"id"`
	ToolUseID string  `json:"tool_use_id"`
	Content   content `json:"content"`
}

func (c *content) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*c = content{{Type: "text", Text: text}}
		return nil
	}
	return json.Unmarshal(data, (*[]block)(c))
}

func (c content) text() string {
	var b strings.Builder
	for _, x := range c {
		if x.Type == "text" {
			b.WriteString(x.Text)
		}
	}
	return b.String()
}

// claudeShell is the name of Claude Code's shell tool.
const claudeShell = "Bash"

// check returns what is wrong with q in the API's words, or "".
func (q messagesRequest) check(counting bool) string {
	switch {
	case q.Model == "":
		return "model: Field required"
	case !counting && q.MaxTokens == nil:
		return "max_tokens: Field required"
	case !counting && *q.MaxTokens < 1:
		return "max_tokens: Input should be greater than or equal to 1"
	case len(q.Messages) == 0:
		return "messages: at least one message is required"
	}
	var asked map[string]bool
	for i, m := range q.Messages {
		if m.Role != "user" && m.Role != "assistant" && m.Role != "system" {
			return fmt.Sprintf("messages.%d.role: Input should be 'user' or 'assistant'", i)
		}
		if i == 0 && m.Role == "assistant" {
			return "messages: first message must use the \"user\" role"
		}
		for j, b := range m.Content {
			if b.Type == "" {
				return fmt.Sprintf("messages.%d.content.%d.type: Field required", i, j)
			}
			if b.Type == "tool_result" && !asked[b.ToolUseID] {
				return fmt.Sprintf("messages.%d.content.%d: unexpected `tool_use_id` found in `tool_result` blocks: each must have a corresponding `tool_use` block in the previous message", i, j)
			}
		}
		if m.Role == "assistant" {
			asked = map[string]bool{}
			for _, b := range m.Content {
				if b.Type == "tool_use" {
					asked[b.ID] = true
				}
			}
		}
	}
	return ""
}

func (q messagesRequest) offersShell() bool {
	for _, t := range q.Tools {
		if t.Name == claudeShell {
			return true
		}
	}
	return false
}

func (q messagesRequest) conversation() Conversation {
	c := Conversation{Model: q.Model}
	previous := ""
	for _, m := range q.Messages {
		switch {
		case m.Role == "assistant" && previous != "assistant":
			c.Step++
			c.Said, c.Results = "", nil
		case m.Role == "user":
			if text := m.Content.text(); text != "" {
				c.Said = text
			}
			for _, b := range m.Content {
				if b.Type == "tool_result" {
					c.Results = append(c.Results, b.Content.text())
				}
			}
		}
		previous = m.Role
	}
	return c
}

// admitAnthropic answers the failure itself unless r carries a good credential and a version.
func (a *API) admitAnthropic(w http.ResponseWriter, r *http.Request) bool {
	cred, scheme := credentialOf(r)
	switch {
	case cred.Empty():
		anthropicFailure(w, http.StatusUnauthorized, "authentication_error", "x-api-key header is required")
	case !a.accepts(scheme, cred) && scheme == "Bearer":
		anthropicFailure(w, http.StatusUnauthorized, "authentication_error", "Invalid bearer token")
	case !a.accepts(scheme, cred):
		anthropicFailure(w, http.StatusUnauthorized, "authentication_error", "invalid x-api-key")
	case r.Header.Get("Anthropic-Version") == "":
		anthropicFailure(w, http.StatusBadRequest, "invalid_request_error", "anthropic-version: header is required")
	default:
		return true
	}
	return false
}

// readMessages admits, decodes and checks a request.
func (a *API) readMessages(w http.ResponseWriter, r *http.Request, counting bool) (messagesRequest, bool) {
	var q messagesRequest
	if !a.admitAnthropic(w, r) || !decode(w, r, anthropicFailure, &q) {
		return q, false
	}
	if wrong := q.check(counting); wrong != "" {
		anthropicFailure(w, http.StatusBadRequest, "invalid_request_error", wrong)
		return q, false
	}
	return q, true
}

func (a *API) countTokens(w http.ResponseWriter, r *http.Request) {
	q, ok := a.readMessages(w, r, true)
	if !ok {
		return
	}
	n := 0
	for _, m := range q.Messages {
		n += len(m.Content.text())/4 + 1
	}
	writeJSON(w, http.StatusOK, map[string]int{"input_tokens": n})
}

func (a *API) messages(w http.ResponseWriter, r *http.Request) {
	q, ok := a.readMessages(w, r, false)
	if !ok {
		return
	}
	c := q.conversation()
	msg, blocks := anthropicMessage(q, c, a.answer(c, q.offersShell()))
	w.Header().Set("Request-Id", "req_standin")
	if q.Stream {
		streamMessage(startEvents(w), msg, blocks)
		return
	}
	msg["content"] = blocks
	writeJSON(w, http.StatusOK, msg)
}

// anthropicMessage renders turn as a finished message and its content blocks.
func anthropicMessage(q messagesRequest, c Conversation, turn Turn) (msg map[string]any, blocks []map[string]any) {
	if turn.Text != "" {
		blocks = append(blocks, map[string]any{"type": "text", "text": turn.Text})
	}
	stop := "end_turn"
	for i, command := range turn.Commands {
		stop = "tool_use"
		blocks = append(blocks, map[string]any{
			"type": "tool_use", "id": fmt.Sprintf("toolu_standin_%d_%d", c.Step, i), "name": claudeShell,
			"input": map[string]any{"command": command, "description": "Run a command of the script"},
		})
	}
	return map[string]any{
		"id": fmt.Sprintf("msg_standin_%d", c.Step), "type": "message", "role": "assistant", "model": q.Model,
		"content": []any{}, "stop_reason": stop, "stop_sequence": nil,
		"usage": map[string]any{
			"input_tokens": 12, "output_tokens": 8,
			"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
		},
	}, blocks
}

func streamMessage(e events, msg map[string]any, blocks []map[string]any) {
	stop, usage := msg["stop_reason"], msg["usage"]
	msg["stop_reason"] = nil
	e.send(map[string]any{"type": "message_start", "message": msg})
	for i, b := range blocks {
		start, deltas := map[string]any{"type": "text", "text": ""}, []map[string]any(nil)
		if b["type"] == "tool_use" {
			start = map[string]any{"type": "tool_use", "id": b["id"], "name": b["name"], "input": map[string]any{}}
			deltas = append(deltas, map[string]any{"type": "input_json_delta", "partial_json": jsonOf(b["input"])})
		} else {
			for _, p := range pieces(b["text"].(string)) {
				deltas = append(deltas, map[string]any{"type": "text_delta", "text": p})
			}
		}
		e.send(map[string]any{"type": "content_block_start", "index": i, "content_block": start})
		for _, d := range deltas {
			e.send(map[string]any{"type": "content_block_delta", "index": i, "delta": d})
		}
		e.send(map[string]any{"type": "content_block_stop", "index": i})
	}
	e.send(map[string]any{
		"type":  "message_delta",
		"delta": map[string]any{"stop_reason": stop, "stop_sequence": nil}, "usage": usage,
	})
	e.send(map[string]any{"type": "message_stop"})
}
