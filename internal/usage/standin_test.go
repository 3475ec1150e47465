package usage_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/standin"
	"github.com/claude-bottle/claude-bottle/internal/usage"
)

// watched passes a handler's answer by a Parser as it is written, flush by flush.
type watched struct {
	*httptest.ResponseRecorder
	path   string
	begun  bool
	parser *usage.Parser
}

func (w *watched) WriteHeader(status int) {
	w.begun = true
	w.parser = usage.NewParser(usage.Answer{Path: w.path, ContentType: w.Header().Get("Content-Type"), Status: status})
}

func (w *watched) Write(b []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.parser.Write(b)
}

// The APIs our other tests talk to are metered.
func TestStandInIsMetered(t *testing.T) {
	t.Parallel()
	api := standin.New(standin.Config{
		Keys:   []standin.Key{{Scheme: "Bearer", Value: secret.New("sk-x")}},
		Script: standin.Turns(standin.Turn{Text: `say "usage":{"input_tokens":99}`, Commands: []string{"echo } ]"}}),
	})
	const tools = `"tools":[{"name":"Bash","type":"function"},{"name":"shell","type":"function"}]`
	want := usage.Usage{Model: "m-1", Tokens: usage.Tokens{Input: 12, Output: 8}}
	for _, c := range []struct {
		path, body string
		want       usage.Usage
		silent     bool
	}{
		{"/v1/messages", `{"model":"m-1","max_tokens":9,"messages":[{"role":"user","content":"hi"}],` + tools + `}`, want, false},
		{"/v1/messages", `{"model":"m-1","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}],` + tools + `}`, want, false},
		{"/v1/responses", `{"model":"m-1","input":"hi",` + tools + `}`, want, false},
		{"/v1/responses", `{"model":"m-1","stream":true,"input":"hi",` + tools + `}`, want, false},
		{"/v1/messages", `{"model":"m-1"}`, usage.Usage{}, true},
		{"/v1/messages/count_tokens", `{"model":"m-1","messages":[{"role":"user","content":"hi"}]}`, usage.Usage{}, true},
	} {
		r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer sk-x")
		r.Header.Set("Anthropic-Version", "2023-06-01")
		w := &watched{ResponseRecorder: httptest.NewRecorder(), path: c.path}
		api.ServeHTTP(w, r)
		got, ok := w.parser.Usage()
		if ok == c.silent {
			t.Errorf("%s %s: %v", c.path, c.body, ok)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s %s: %s", c.path, c.body, d)
		}
	}
}
