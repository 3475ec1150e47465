package standin

import (
	"encoding/json"
	"net/http"
	"strings"
)

// responsesRequest is the part of a Responses request the stand-in judges.
type responsesRequest struct {
	Model  string `json:"model"`
	Input  items  `json:"input"`
	Stream bool   `json:"stream"`
	Tools  []tool `json:"tools"`
	Text   struct {
		Format struct {
			Type   string `json:"type"`
			Schema schema `json:"schema"`
		} `json:"format"`
	} `json:"text"`
}

// schema is what an answer has to look like: Codex asks for a session's title that way.
type schema struct {
	Properties map[string]struct {
		Type      string `json:"type"`
		MaxLength *int   `json:"maxLength"`
	} `json:"properties"`
}

// fill is the smallest answer that fits s, its texts taken from text.
func (s schema) fill(text string) string {
	answer := map[string]any{}
	for name, p := range s.Properties {
		switch p.Type {
		case "string":
			answer[name] = text
			if p.MaxLength != nil {
				answer[name] = text[:max(0, min(len(text), *p.MaxLength))]
			}
		case "boolean":
			answer[name] = false
		case "integer", "number":
			answer[name] = 0
		case "array":
			answer[name] = []any{}
		default:
			answer[name] = nil
		}
	}
	return jsonOf(answer)
}

// tool is one the model may call. A "namespace" is a group of them.
type tool struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Tools []tool `json:"tools"`
}

// items is the conversation; a bare string is one message of the user.
type items []item

type item struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content content         `json:"content"`
	CallID  string          `json:"call_id"`
	Output  json.RawMessage `json:"output"`
	Tools   []tool          `json:"tools"` // "additional_tools": offered from here on
}

func (it *items) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*it = items{{Type: "message", Role: "user", Content: content{{Type: "input_text", Text: text}}}}
		return nil
	}
	return json.Unmarshal(data, (*[]item)(it))
}

// said is the text of a message's parts.
func (it item) said() string {
	var b strings.Builder
	for _, part := range it.Content {
		if part.Type == "input_text" || part.Type == "text" {
			b.WriteString(part.Text)
		}
	}
	return b.String()
}

// result is a command's output: a string, or a list of text parts.
func (it item) result() string {
	var text string
	if json.Unmarshal(it.Output, &text) == nil {
		return text
	}
	var parts []block
	if json.Unmarshal(it.Output, &parts) != nil {
		return ""
	}
	return item{Content: parts}.said()
}

func (it item) fromModel() bool {
	return it.Role == "assistant" || strings.HasSuffix(it.Type, "_call") || it.Type == "reasoning"
}

func (q responsesRequest) conversation() Conversation {
	c := Conversation{Model: q.Model}
	model := false
	for _, it := range q.Input {
		switch {
		case it.fromModel():
			if !model {
				c.Step++
				c.Said, c.Results = "", nil
			}
		case strings.HasSuffix(it.Type, "_call_output"):
			c.Results = append(c.Results, it.result())
		case it.Role == "user":
			c.Said = it.said()
		}
		model = it.fromModel()
	}
	return c
}

// check returns what is wrong with q in the API's words, or "".
func (q responsesRequest) check() string {
	switch {
	case q.Model == "":
		return "Missing required parameter: 'model'."
	case len(q.Input) == 0:
		return "Missing required parameter: 'input'."
	}
	called := map[string]bool{}
	for _, it := range q.Input {
		switch {
		case strings.HasSuffix(it.Type, "_call"):
			called[it.CallID] = true
		case strings.HasSuffix(it.Type, "_call_output") && !called[it.CallID]:
			return "No tool call found for function call output with call_id " + it.CallID + "."
		}
	}
	return ""
}

// shell is a tool that runs commands, and the group it is called under.
type shell struct{ name, group string }

// codeMode is Codex's tool that takes a script, whose functions are the other tools.
const codeMode = "exec"

// shellTool is the first of Codex's shell tools that q offers; the zero shell when there is none.
func (q responsesRequest) shellTool() shell {
	if s := findShell(q.Tools, ""); s.name != "" {
		return s
	}
	for _, it := range q.Input {
		if s := findShell(it.Tools, ""); s.name != "" {
			return s
		}
	}
	return shell{}
}

func findShell(tools []tool, group string) shell {
	for _, t := range tools {
		switch {
		case t.Type == "namespace" && group == "":
			if s := findShell(t.Tools, t.Name); s.name != "" {
				return s
			}
		case t.Type == "custom" && t.Name == codeMode,
			t.Type == "function" && (t.Name == "exec_command" || t.Name == "shell_command" || t.Name == "shell"):
			return shell{t.Name, group}
		}
	}
	return shell{}
}

func (a *API) admitOpenAI(w http.ResponseWriter, r *http.Request) bool {
	cred, scheme := credentialOf(r)
	switch {
	case cred.Empty() || scheme != "Bearer":
		openaiFailure(w, http.StatusUnauthorized, "", "Missing bearer authentication in header")
	case !a.accepts(scheme, cred):
		openaiFailure(w, http.StatusUnauthorized, "", "Incorrect API key provided.")
	default:
		return true
	}
	return false
}

func (a *API) models(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Anthropic-Version") != "" {
		if a.admitAnthropic(w, r) {
			writeJSON(w, http.StatusOK, map[string]any{"data": []any{}, "has_more": false, "first_id": nil, "last_id": nil})
		}
		return
	}
	if a.admitOpenAI(w, r) {
		writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []any{}})
	}
}

func (a *API) responses(w http.ResponseWriter, r *http.Request) {
	var q responsesRequest
	if !a.admitOpenAI(w, r) || !decode(w, r, openaiFailure, &q) {
		return
	}
	if wrong := q.check(); wrong != "" {
		openaiFailure(w, http.StatusBadRequest, "invalid_request_error", wrong)
		return
	}
	c := q.conversation()
	tool := q.shellTool()
	// A demand for a certain form of answer marks a side request, whatever tools it offers.
	side := q.Text.Format.Type == "json_schema"
	turn := a.answer(c, tool.name != "" && !side)
	if side {
		turn.Text = q.Text.Format.Schema.fill(Greeting)
	}
	resp, out := openaiResponse(q, c, turn, tool)
	if q.Stream {
		streamResponse(startEvents(w), resp, out)
		return
	}
	resp["output"] = out
	writeJSON(w, http.StatusOK, resp)
}
