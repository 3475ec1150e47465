// Package usage meters what a bottle takes from models: it reads token counts out of answers as they
// pass, adds them up by host and model, and knows what they cost.
//
//	p := usage.NewParser(usage.Answer{Path: "/v1/messages", ContentType: "text/event-stream", Status: 200})
//	io.Copy(bottle, usage.Tap(body, p)) // the decoded body
//	u, ok := p.Usage()
//
// Understood are Anthropic's Messages (https://platform.claude.com/docs/en/api/messages) and OpenAI's
// Chat Completions and Responses (https://platform.openai.com/docs/api-reference), each as one JSON
// document or as server-sent events, and Responses as messages on a WebSocket. Any other shape
// yields nothing.
//
// An upstream is not trusted: what it sends is read in fixed memory and linear time, its numbers
// are bounded, the names it gives to models are inert, and only so many of them are told apart.
package usage

import "math"

// Tokens counts tokens by what is paid for them. Input, CacheRead and CacheWrite do not overlap:
// their sum is the prompt.
type Tokens struct {
	Input      int64 `json:"input"`       // read anew
	CacheRead  int64 `json:"cache_read"`  // read from a cache
	CacheWrite int64 `json:"cache_write"` // read anew and written to a cache
	// CacheWrite1h is the part of CacheWrite that is kept for an hour, at a higher price.
	CacheWrite1h int64 `json:"cache_write_1h,omitempty"`
	Output       int64 `json:"output"`
	// Reasoning is the part of Output that nobody is shown, where the upstream tells it apart.
	Reasoning int64 `json:"reasoning,omitempty"`
}

// Prompt is what the model read, from caches or not.
func (t Tokens) Prompt() int64 { return plus(plus(t.Input, t.CacheRead), t.CacheWrite) }

// Sum is all that the model read and wrote.
func (t Tokens) Sum() int64 { return plus(t.Prompt(), t.Output) }

// Zero reports whether nothing was counted.
func (t Tokens) Zero() bool { return t == Tokens{} }

func (t *Tokens) add(o Tokens) {
	t.Input = plus(t.Input, o.Input)
	t.CacheRead = plus(t.CacheRead, o.CacheRead)
	t.CacheWrite = plus(t.CacheWrite, o.CacheWrite)
	t.CacheWrite1h = plus(t.CacheWrite1h, o.CacheWrite1h)
	t.Output = plus(t.Output, o.Output)
	t.Reasoning = plus(t.Reasoning, o.Reasoning)
}

// Usage is what one answer of a model took.
type Usage struct {
	// Model is the name the upstream gave, inert and of at most 80 bytes; empty when it gave none.
	Model string `json:"model,omitempty"`
	Tokens
}

// plus adds what can't be negative and stops at the end of the range.
func plus(a, b int64) int64 {
	if b = max(b, 0); a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
