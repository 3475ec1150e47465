package usage

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// stream is server-sent events as APIs write them: each with its name, or bare where name is "".
func stream(name string, data ...string) string {
	var b strings.Builder
	for _, d := range data {
		if name == "typed" {
			kind := d[strings.Index(d, `"type":"`)+8:]
			fmt.Fprintf(&b, "event: %s\n", kind[:strings.IndexByte(kind, '"')])
		}
		fmt.Fprintf(&b, "data: %s\n\n", d)
	}
	return b.String()
}

type answer struct {
	name, path, kind, body string
	want                   Usage
	silent                 bool // tells nothing at all
}

var anthropicStream = stream("typed",
	`{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"claude-opus-4-5-20251101","content":[],"stop_reason":null,"usage":{"input_tokens":9,"cache_creation_input_tokens":2100,"cache_read_input_tokens":18000,"cache_creation":{"ephemeral_5m_input_tokens":2000,"ephemeral_1h_input_tokens":100},"output_tokens":1,"service_tier":"standard"}}}`,
	`{"type":"ping"}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a \"quoted\\\" } line\nof \u00e9 { text"}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\"usage\":{\"output_tokens\":999999}"},"usage":{"output_tokens":777}}`,
	`{"type":"content_block_stop","index":0}`,
	`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":412}}`,
	`{"type":"message_stop"}`,
)

var answers = []answer{
	{
		name: "anthropic stream", path: "/v1/messages", kind: "text/event-stream; charset=utf-8", body: anthropicStream,
		want: Usage{Model: "claude-opus-4-5-20251101", Tokens: Tokens{Input: 9, CacheRead: 18000, CacheWrite: 2100, CacheWrite1h: 100, Output: 412}},
	},
	{
		name: "anthropic stream with CRLF and comments", path: "/v1/messages", kind: "text/event-stream",
		body: ": hello\r\n\r\n" + strings.ReplaceAll(anthropicStream, "\n", "\r\n"),
		want: Usage{Model: "claude-opus-4-5-20251101", Tokens: Tokens{Input: 9, CacheRead: 18000, CacheWrite: 2100, CacheWrite1h: 100, Output: 412}},
	},
	{
		name: "anthropic stream whose numbers come last", path: "/v1/messages", kind: "text/event-stream",
		body: stream("typed",
			`{"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":0,"output_tokens":0}}}`,
			`{"type":"message_delta","delta":{},"usage":{"input_tokens":50,"cache_read_input_tokens":7,"output_tokens":3}}`),
		want: Usage{Model: "claude-x", Tokens: Tokens{Input: 50, CacheRead: 7, Output: 3}},
	},
	{
		name: "anthropic document", path: "/v1/messages", kind: "application/json",
		body: `{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"tool_use","id":"t","name":"Bash","input":{"usage":{"input_tokens":1000},"model":"liar"}}],"stop_reason":"tool_use","usage":{"input_tokens": 12 ,"output_tokens":8,"cache_creation_input_tokens":0,"cache_read_input_tokens":4}}`,
		want: Usage{Model: "claude-haiku-4-5", Tokens: Tokens{Input: 12, CacheRead: 4, Output: 8}},
	},
	{
		name: "chat document", path: "/v1/chat/completions", kind: "application/json",
		body: `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5-mini-2025-08-07","choices":[{"index":0,"message":{"role":"assistant","content":"hi","usage":{"prompt_tokens":5}},"finish_reason":"stop"}],"usage":{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":128,"accepted_prediction_tokens":0}}}`,
		want: Usage{Model: "gpt-5-mini-2025-08-07", Tokens: Tokens{Input: 86, CacheRead: 1920, Output: 300, Reasoning: 128}},
	},
	{
		name: "chat stream", path: "/openai/v1/chat/completions", kind: "text/event-stream",
		body: stream("",
			`{"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}`,
			`{"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"Hi {"}}],"usage":null}`,
			`{"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}}`,
			`[DONE]`),
		want: Usage{Model: "gpt-4o", Tokens: Tokens{Input: 11, Output: 2}},
	},
	{
		name: "chat stream that tells no usage", path: "/v1/chat/completions", kind: "text/event-stream",
		body: stream("", `{"object":"chat.completion.chunk","model":"gpt-4o","choices":[{"delta":{"content":"Hi"}}]}`, `[DONE]`),
		want: Usage{Model: "gpt-4o"},
	},
	{
		name: "responses document", path: "/v1/responses", kind: "application/json; charset=utf-8",
		body: `{"id":"resp_1","object":"response","status":"completed","model":"gpt-6-sol","output":[{"type":"message","content":[{"type":"output_text","text":"ok"}]}],"usage":{"input_tokens":5000,"input_tokens_details":{"cached_tokens":4000,"cache_write_tokens":600},"output_tokens":70,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":5070}}`,
		want: Usage{Model: "gpt-6-sol", Tokens: Tokens{Input: 400, CacheRead: 4000, CacheWrite: 600, Output: 70, Reasoning: 64}},
	},
	{
		name: "responses stream", path: "/backend-api/codex/responses", kind: "text/event-stream",
		body: stream("typed",
			`{"type":"response.created","sequence_number":0,"response":{"id":"r","model":"gpt-5.4","output":[],"usage":null}}`,
			`{"type":"response.output_text.delta","delta":"x","usage":{"output_tokens":9999}}`,
			`{"type":"response.incomplete","response":{"id":"r","model":"gpt-5.4","output":[{"text":"}]}"}],"usage":{"input_tokens":20,"input_tokens_details":{"cached_tokens":0},"output_tokens":8,"output_tokens_details":{"reasoning_tokens":0}}}}`),
		want: Usage{Model: "gpt-5.4", Tokens: Tokens{Input: 20, Output: 8}},
	},
	{
		name: "data over several lines", path: "/v1/responses", kind: "text/event-stream",
		body: "id: 7\ndata: {\"model\":\"m\",\ndata:\"usage\": {\"input_tokens\":3,\ndata: \"output_tokens\": 4}}\n\n",
		want: Usage{Model: "m", Tokens: Tokens{Input: 3, Output: 4}},
	},
	{
		name: "no content type", path: "/v1/messages", kind: "",
		body: "\n {\"model\":\"m\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}",
		want: Usage{Model: "m", Tokens: Tokens{Input: 3, Output: 4}},
	},
	{name: "an error in a stream", path: "/v1/messages", kind: "text/event-stream", body: stream("typed", `{"type":"error","error":{"type":"overloaded_error","message":"x"}}`), silent: true},
	{name: "counting tokens", path: "/v1/messages", kind: "application/json", body: `{"input_tokens":2095}`, silent: true},
	{name: "a list", path: "/v1/messages", kind: "application/json", body: `[{"model":"x","usage":{"input_tokens":1}}]`, silent: true},
	{name: "a string", path: "/v1/messages", kind: "application/json", body: `"{\"model\":\"x\"}"{"model":"x"}`, silent: true},
	{name: "a second document", path: "/v1/messages", kind: "application/json", body: `{}{"model":"x"}`, silent: true},
	{
		name: "numbers that are none", path: "/v1/messages", kind: "application/json",
		body:   `{"usage":{"input_tokens":-5,"output_tokens":1.5,"cache_read_input_tokens":1e3,"cache_creation_input_tokens":99999999999999999999999999,"prompt_tokens":"7","completion_tokens":[8]}}`,
		silent: true,
	},
	{
		name: "a hostile name", path: "/v1/messages", kind: "application/json",
		body: `{"model":"\u001b[2Jgpt\n` + strings.Repeat("x", 500) + `","usage":{"input_tokens":1,"output_tokens":1}}`,
		want: Usage{Model: `\x1b[2Jgpt\n` + strings.Repeat("x", 80-12-3) + "…", Tokens: Tokens{Input: 1, Output: 1}},
	},
}

func (a answer) parser() *Parser {
	return NewParser(Answer{Path: a.path, ContentType: a.kind, Status: 200})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for cut := range len(a.body) + 1 { // every split in two
				p := a.parser()
				_, _ = p.Write([]byte(a.body[:cut]))
				_, _ = p.Write([]byte(a.body[cut:]))
				got, ok := p.Usage()
				if ok == a.silent {
					t.Fatalf("cut at %d: %+v, %v", cut, got, ok)
				}
				if d := cmp.Diff(a.want, got); d != "" {
					t.Fatalf("cut at %d: %s", cut, d)
				}
			}
		})
	}
}

// However a body is cut, what is read of it is the same: also of bodies that are broken.
func TestCutsDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SampledFrom(answers).Draw(t, "answer")
		body := []byte(a.body)
		for range rapid.IntRange(0, 3).Draw(t, "spoilt") {
			body[rapid.IntRange(0, len(body)-1).Draw(t, "at")] = rapid.SampledFrom([]byte("{}[]\",:\\\n\r0-x")).Draw(t, "byte")
		}
		whole, parts := a.parser(), a.parser()
		_, _ = whole.Write(body)
		for len(body) > 0 {
			n := rapid.IntRange(1, min(len(body), 9)).Draw(t, "n")
			_, _ = parts.Write(body[:n])
			body = body[n:]
		}
		w, okW := whole.Usage()
		p, okP := parts.Usage()
		if okW != okP {
			t.Fatalf("%v at once, %v in parts", okW, okP)
		}
		if d := cmp.Diff(w, p); d != "" {
			t.Fatal(d)
		}
	})
}

func TestWhatIsNoModelsAnswer(t *testing.T) {
	t.Parallel()
	for _, a := range []Answer{
		{"/v1/messages", "application/json", 429},
		{"/v1/messages", "application/json", 304},
		{"/v1/messages", "text/html", 200},
		{"/v1/messages/count_tokens", "application/json", 200},
		{"/v1/models", "application/json", 200},
		{"/left-pad", "application/json", 200},
	} {
		if p := NewParser(a); p != nil {
			t.Errorf("%+v has a parser", a)
		}
	}
	var none *Parser
	if n, err := none.Write([]byte("abc")); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if u, ok := none.Usage(); ok {
		t.Errorf("%+v", u)
	}
	for _, path := range []string{"/v1/messages", "/v1/messages/", "//v1//Messages", "/v1/%6dessages", "/api/v1/chat/completions"} {
		if !ModelPath(path) {
			t.Errorf("%s is a model's", path)
		}
	}
}

func TestAnswersOnAWebSocket(t *testing.T) {
	t.Parallel()
	var m Messages
	var got []Usage
	for _, msg := range []string{
		`{"type":"response.created","response":{"model":"gpt-5.4","usage":null}}`,
		`{"type":"response.output_text.delta","delta":"hello"}`,
		`{"type":"response.completed","response":{"model":"gpt-5.4","usage":{"input_tokens":20,"output_tokens":8}}}`,
		`not JSON`,
		`{"type":"response.completed","response":{"model":"gpt-5.5","usage":{"input_tokens":5,"output_tokens":1}}}`,
		`{"type":"response.output_text.delta","delta":"hel`, // cut off
		`{"type":"response.failed","response":{"model":"gpt-5.5","usage":null}}`,
	} {
		for i := range len(msg) {
			_, _ = m.Write([]byte(msg[i : i+1]))
		}
		if u, ok := m.End(); ok {
			got = append(got, u)
		}
	}
	want := []Usage{
		{Model: "gpt-5.4", Tokens: Tokens{Input: 20, Output: 8}},
		{Model: "gpt-5.5", Tokens: Tokens{Input: 5, Output: 1}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTap(t *testing.T) {
	t.Parallel()
	body := io.NopCloser(strings.NewReader(anthropicStream))
	p := answers[0].parser()
	got, err := io.ReadAll(Tap(body, p))
	if err != nil || string(got) != anthropicStream {
		t.Errorf("%v: %s", err, got)
	}
	if u, ok := p.Usage(); !ok || u != answers[0].want {
		t.Errorf("%+v", u)
	}
	if Tap(body, nil) != body {
		t.Error("there is nothing to tap for")
	}
}

// Memory does not grow with what passes.
func TestReadingTakesNoMemory(t *testing.T) {
	body := []byte(strings.Repeat(anthropicStream, 3) + strings.Repeat("[", 1<<16))
	p := answers[0].parser()
	_, _ = p.Write(body)
	if n := testing.AllocsPerRun(5, func() { _, _ = p.Write(body) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParser(f *testing.F) {
	for _, a := range answers {
		f.Add(a.kind, []byte(a.body), uint8(3))
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte, step uint8) {
		whole := NewParser(Answer{Path: "/v1/responses", ContentType: kind, Status: 200})
		parts := NewParser(Answer{Path: "/v1/responses", ContentType: kind, Status: 200})
		_, _ = whole.Write(body)
		for chunk := range chunks(body, int(step)+1) {
			_, _ = parts.Write(chunk)
		}
		u, ok := whole.Usage()
		v, okParts := parts.Usage()
		if u != v || ok != okParts {
			t.Errorf("at once %+v, in parts %+v", u, v)
		}
		for _, n := range []int64{u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning} {
			if n < 0 || n > 2*maxCount {
				t.Errorf("%+v", u)
			}
		}
		if len(u.Model) > maxModel || strings.ContainsFunc(u.Model, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("model %q", u.Model)
		}
	})
}

func chunks(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}

func BenchmarkParser(b *testing.B) {
	text := strings.Repeat(`some words of an answer, \"quoted\" and then a line\n`, 4)
	var deltas, chats []string
	for range 2000 {
		deltas = append(deltas, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"`+text[:40]+`"}}`)
		chats = append(chats, `{"id":"chatcmpl-abcdefghijklmnopqrstuvwxyz","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":"`+text[:40]+`"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abcdefgh"}`)
	}
	for _, bench := range []struct{ name, kind, body string }{
		{"AnthropicStream", "text/event-stream", stream("typed", deltas...)},
		{"ChatStream", "text/event-stream", stream("", chats...)},
		{"ResponseDocument", "application/json", `{"model":"m","output":[{"content":[{"text":"` + strings.Repeat(text, 2000) + `"}]}],"usage":{"input_tokens":1}}`},
		{"StreamOfEscapes", "text/event-stream", stream("", `{"a":"`+strings.Repeat(`\n`, 100_000)+`"}`)},
		{"StreamOfBrackets", "text/event-stream", stream("", `{"a":`+strings.Repeat(`[{"":0},`, 50_000))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			body := []byte(bench.body)
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				p := NewParser(Answer{Path: "/v1/messages", ContentType: bench.kind, Status: 200})
				for chunk := range chunks(body, 16<<10) {
					_, _ = p.Write(chunk)
				}
			}
		})
	}
}
