package standin_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/standin"
)

const key = "sk-real-key-of-the-test"

func newAPI(script standin.Script) *standin.API {
	return standin.New(standin.Config{
		Keys:   []standin.Key{{Scheme: "Bearer", Value: secret.New(key)}, {Scheme: "x-api-key", Value: secret.New(key)}},
		Script: script,
	})
}

// ask sends one request; headers are "Name: value" lines.
func ask(api http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return w
}

const (
	version = "Anthropic-Version: 2023-06-01"
	xKey    = "X-Api-Key: " + key
	bearer  = "Authorization: Bearer " + key
	hi      = `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		kind, words              string
	}{
		{"no credential", "POST", "/v1/messages", hi, []string{version}, 401, "authentication_error", "x-api-key header is required"},
		{"wrong key", "POST", "/v1/messages", hi, []string{version, "X-Api-Key: other"}, 401, "authentication_error", "invalid x-api-key"},
		{"wrong token", "POST", "/v1/messages", hi, []string{version, "Authorization: Bearer other"}, 401, "authentication_error", "Invalid bearer token"},
		{"other scheme", "POST", "/v1/messages", hi, []string{version, "Authorization: Basic " + key}, 401, "authentication_error", "required"},
		{"no version", "POST", "/v1/messages", hi, []string{xKey}, 400, "invalid_request_error", "anthropic-version"},
		{"bad JSON", "POST", "/v1/messages", "{", []string{version, xKey}, 400, "invalid_request_error", "not valid JSON"},
		{"no model", "POST", "/v1/messages", `{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, []string{version, xKey}, 400, "invalid_request_error", "model: Field required"},
		{"no max_tokens", "POST", "/v1/messages", `{"model":"m","messages":[{"role":"user","content":"x"}]}`, []string{version, xKey}, 400, "invalid_request_error", "max_tokens: Field required"},
		{"max_tokens zero", "POST", "/v1/messages", `{"model":"m","max_tokens":0,"messages":[{"role":"user","content":"x"}]}`, []string{version, xKey}, 400, "invalid_request_error", "greater than or equal to 1"},
		{"no messages", "POST", "/v1/messages", `{"model":"m","max_tokens":1,"messages":[]}`, []string{version, xKey}, 400, "invalid_request_error", "at least one message"},
		{"unknown role", "POST", "/v1/messages", `{"model":"m","max_tokens":1,"messages":[{"role":"robot","content":"x"}]}`, []string{version, xKey}, 400, "invalid_request_error", "messages.0.role"},
		{"assistant first", "POST", "/v1/messages", `{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":"x"}]}`, []string{version, xKey}, 400, "invalid_request_error", "first message"},
		{"block without type", "POST", "/v1/messages", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"text":"x"}]}]}`, []string{version, xKey}, 400, "invalid_request_error", "type: Field required"},
		{"result of no call", "POST", "/v1/messages", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":"y"}]}]}`, []string{version, xKey}, 400, "invalid_request_error", "tool_use_id"},
		{"unknown path", "GET", "/v1/files", "", []string{version, xKey}, 404, "not_found_error", "/v1/files"},
		{"wrong method", "GET", "/v1/messages", "", []string{version, xKey}, 404, "not_found_error", "GET /v1/messages"},
		{"openai: no credential", "POST", "/v1/responses", `{"model":"m","input":"x"}`, nil, 401, "invalid_request_error", "Missing bearer"},
		{"openai: x-api-key is none", "POST", "/v1/responses", `{"model":"m","input":"x"}`, []string{xKey}, 401, "invalid_request_error", "Missing bearer"},
		{"openai: wrong key", "POST", "/v1/responses", `{"model":"m","input":"x"}`, []string{"Authorization: Bearer other"}, 401, "invalid_request_error", "Incorrect API key"},
		{"openai: no model", "POST", "/v1/responses", `{"input":"x"}`, []string{bearer}, 400, "invalid_request_error", "'model'"},
		{"openai: no input", "POST", "/v1/responses", `{"model":"m"}`, []string{bearer}, 400, "invalid_request_error", "'input'"},
		{"openai: output of no call", "POST", "/v1/responses", `{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":"x"}]}`, []string{bearer}, 400, "invalid_request_error", "No tool call found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			api := newAPI(nil)
			w := ask(api, tc.method, tc.path, tc.body, tc.headers...)
			var got struct {
				Error struct{ Type, Message string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v", w.Body, err)
			}
			if w.Code != tc.status || got.Error.Type != tc.kind || !strings.Contains(got.Error.Message, tc.words) {
				t.Errorf("got %d %s, want %d %s with %q", w.Code, w.Body, tc.status, tc.kind, tc.words)
			}
			if strings.Contains(w.Body.String(), "other") || strings.Contains(w.Body.String(), key) {
				t.Errorf("the answer shows a credential: %s", w.Body)
			}
			if seen := api.Seen(); len(seen) != 1 || seen[0].Status != tc.status {
				t.Errorf("recorded %+v", seen)
			}
		})
	}
}

func TestZeroConfigRefusesEverybody(t *testing.T) {
	t.Parallel()
	api := standin.New(standin.Config{Keys: []standin.Key{{Scheme: "x-api-key"}}})
	for _, h := range []string{xKey, bearer, "X-Api-Key: "} {
		if w := ask(api, "POST", "/v1/messages", hi, version, h); w.Code != 401 {
			t.Errorf("%s: %d", h, w.Code)
		}
	}
}

func TestAnswersWithoutAStream(t *testing.T) {
	t.Parallel()
	api := newAPI(nil)
	for _, tc := range []struct{ method, path, body, want string }{
		{"POST", "/v1/messages?beta=true", hi, `"text":"` + standin.Greeting},
		{"POST", "/v1/messages/count_tokens", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`, `"input_tokens":1`},
		{"GET", "/v1/models", "", `"has_more":false`},
		{"GET", "/api/hello", "", "hello"},
		{"HEAD", "/", "", ""},
	} {
		if w := ask(api, tc.method, tc.path, tc.body, version, xKey); w.Code != 200 || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, w.Code, w.Body)
		}
	}
	if w := ask(api, "POST", "/v1/responses", `{"model":"m","input":"hi"}`, bearer); w.Code != 200 || !strings.Contains(w.Body.String(), `"text":"`+standin.Greeting) {
		t.Errorf("responses: %d %s", w.Code, w.Body)
	}
	title := `{"model":"m","input":"hi","tools":[{"type":"function","name":"shell"}],"text":{"format":{"type":"json_schema","schema":{"properties":{"title":{"type":"string","maxLength":5}}}}}}`
	if w := ask(api, "POST", "/v1/responses", title, bearer); w.Code != 200 || !strings.Contains(w.Body.String(), `{\"title\":\"Hello\"}`) {
		t.Errorf("structured: %d %s", w.Code, w.Body)
	}
}

func TestScriptSeesTheConversation(t *testing.T) {
	t.Parallel()
	var seen []standin.Conversation
	api := newAPI(func(c standin.Conversation) standin.Turn {
		seen = append(seen, c)
		return standin.Turn{Commands: []string{"ls"}}
	})
	ask(api, "POST", "/v1/messages", `{"model":"m","max_tokens":9,"tools":[{"name":"Bash"}],"messages":[
		{"role":"user","content":"one"},
		{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{}},{"type":"tool_use","id":"t2","name":"Bash","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"out1"},{"type":"tool_result","tool_use_id":"t2","content":[{"type":"text","text":"out2"}]}]}]}`, version, xKey)
	ask(api, "POST", "/v1/responses", `{"model":"m","tools":[{"type":"function","name":"shell"}],"input":[
		{"type":"message","role":"user","content":"one"},
		{"type":"function_call","call_id":"a","name":"shell","arguments":"{}"},
		{"type":"function_call","call_id":"b","name":"shell","arguments":"{}"},
		{"type":"function_call_output","call_id":"a","output":"out1"},
		{"type":"function_call_output","call_id":"b","output":[{"type":"input_text","text":"out2"}]}]}`, bearer)
	if len(seen) != 2 {
		t.Fatalf("asked %d times", len(seen))
	}
	for _, c := range seen {
		if c.Step != 1 || len(c.Results) != 2 || c.Results[0] != "out1" || c.Results[1] != "out2" {
			t.Errorf("conversation %+v", c)
		}
	}
}

func TestRecordIsBoundedAndHoldsNoCredentialInHeaders(t *testing.T) {
	t.Parallel()
	api := standin.New(standin.Config{Keep: 2})
	for range 5 {
		ask(api, "POST", "/v1/messages", strings.Repeat("x", 1<<20), version, bearer)
	}
	seen := api.Seen()
	if len(seen) != 2 || api.Count() != 5 {
		t.Fatalf("kept %d of %d", len(seen), api.Count())
	}
	for _, r := range seen {
		if r.Scheme != "Bearer" || r.Credential.Reveal() != key || r.Header.Get("Authorization") != "" || len(r.Body) > 256<<10 {
			t.Errorf("scheme %q, %d bytes, headers %v", r.Scheme, len(r.Body), r.Header)
		}
	}
}

func TestBodyBeyondTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	big := `{"model":"` + strings.Repeat("x", 33<<20) + `"}`
	if w := ask(newAPI(nil), "POST", "/v1/messages", big, version, xKey); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", w.Code)
	}
}

func TestStreamOverTLS(t *testing.T) {
	t.Parallel()
	srv, err := newAPI(nil).Start(standin.TLS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(srv.CA))
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	body := strings.Replace(hi, `"model"`, `"stream":true,"model"`, 1)
	r, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/v1/messages", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Anthropic-Version", "2023-06-01")
	r.Header.Set("X-Api-Key", key)
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Errorf("%s %v", resp.Proto, resp.Header)
	}
	var names []string
	text := ""
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, isName := strings.CutPrefix(lines.Text(), "event: ")
		if isName && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e struct{ Delta struct{ Text string } }
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatal(err)
			}
			text += e.Delta.Text
		}
	}
	if got := strings.Join(names, " "); got != "message_start content_block_start content_block_delta content_block_stop message_delta message_stop" {
		t.Errorf("events: %s", got)
	}
	if text != standin.Greeting {
		t.Errorf("text %q", text)
	}
}

func FuzzRequests(f *testing.F) {
	f.Add("/v1/messages", hi)
	f.Add("/v1/messages/count_tokens", hi)
	f.Add("/v1/responses", `{"model":"m","stream":true,"input":[{"type":"custom_tool_call_output","output":[{}]}],"tools":[{"type":"namespace","name":"n","tools":[{"type":"custom","name":"exec"}]}]}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		r := httptest.NewRequest("POST", "/", io.NopCloser(strings.NewReader(body)))
		r.URL.Path = path
		r.Header.Set("X-Api-Key", key)
		r.Header.Set("Anthropic-Version", "2023-06-01")
		if strings.Contains(path, "responses") {
			r.Header.Del("X-Api-Key")
			r.Header.Set("Authorization", "Bearer "+key)
		}
		newAPI(standin.Turns(standin.Turn{Text: "x", Commands: []string{"y"}})).ServeHTTP(httptest.NewRecorder(), r)
	})
}
