// Package standin is a strict stand-in for the model APIs that agents talk to: Anthropic's
// Messages and OpenAI's Responses. It lets a real agent run offline, driven by a script through
// real shell commands, and remembers what it was asked so that a test can say which credential
// arrived. Strict means that it refuses what the real services refuse, in their error shapes: a
// client that works only with a lenient fake is found here.
//
//	api := standin.New(standin.Config{
//		Keys:   []standin.Key{{Scheme: "Bearer", Value: token}},
//		Script: standin.Turns(standin.Turn{Commands: []string{"uname -a"}}, standin.Turn{Text: "Done."}),
//	})
//	srv, err := api.Start(standin.Plain)
package standin

import (
	"net/http"
	"strings"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// Greeting is the answer to everything no script speaks to.
const Greeting = "Hello from inside the bottle. The model stand-in heard you."

// Config is what an API answers with and to whom. The zero Config refuses everybody.
type Config struct {
	// Keys are the credentials that are accepted; without any, every request gets a 401.
	Keys []Key
	// Script answers the requests that offer the model a shell tool. Nil answers Greeting. An
	// agent's side requests (titles, summaries), which offer no tool or ask for an answer of a
	// certain form, are answered with Greeting, in that form.
	Script Script
	// Keep bounds how many of the latest requests Seen returns; 0 means 64.
	Keep int
}

// Key is a credential as a client writes it.
type Key struct {
	Scheme string // "Bearer" or "x-api-key"; only Anthropic's API takes the latter
	Value  secret.Value
}

// Turn is one answer of the model: words, then shell commands to run. Both empty says Greeting.
type Turn struct {
	Text string
	// Commands are run by the agent with its shell tool, all in one answer; their output comes
	// back as the Results of the next Conversation.
	Commands []string
}

// Conversation is what a script may decide by.
type Conversation struct {
	// Step counts the model's answers so far: 0 for the first question of a session.
	Step int
	// Said is the text of the latest message of the user, the agent program's own reminders in it.
	Said string
	// Results are the outputs of the commands of the turn before, in their order.
	Results []string
	// Model is the one asked for.
	Model string
}

// Script chooses the answer. It is called concurrently.
type Script func(Conversation) Turn

// Turns answers step by step: the first turn to the first question, the second when the results
// of its commands come back, or to the next question; Greeting once they are used up.
func Turns(turns ...Turn) Script {
	return func(c Conversation) Turn {
		if c.Step < len(turns) {
			return turns[c.Step]
		}
		return Turn{}
	}
}

// API is the stand-in: an http.Handler, safe for concurrent use.
type API struct {
	cfg Config
	mux *http.ServeMux

	mu   sync.Mutex
	seen []Request
	all  int
}

// New returns an API that answers by cfg.
func New(cfg Config) *API {
	if cfg.Keep <= 0 {
		cfg.Keep = 64
	}
	if cfg.Script == nil {
		cfg.Script = Turns()
	}
	a := &API{cfg: cfg, mux: http.NewServeMux()}
	a.mux.HandleFunc("POST /v1/messages", a.messages)
	a.mux.HandleFunc("POST /v1/messages/count_tokens", a.countTokens)
	a.mux.HandleFunc("POST /v1/responses", a.responses)
	a.mux.HandleFunc("GET /v1/models", a.models)
	a.mux.HandleFunc("GET /api/hello", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"message": "hello"})
	})
	a.mux.HandleFunc("HEAD /{$}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		failureFor(r)(w, http.StatusNotFound, "not_found_error", "Not found: "+r.Method+" "+r.URL.Path)
	})
	return a
}

// ServeHTTP answers r and records it.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := &keepReader{from: http.MaxBytesReader(w, r.Body, maxBody)}
	r.Body = body
	rec := &statusWriter{ResponseWriter: w}
	cred, scheme := credentialOf(r)
	a.mux.ServeHTTP(rec, r)
	a.record(Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host,
		Header: withoutCredentials(r.Header), Scheme: scheme, Credential: cred,
		Body: body.kept, Status: rec.code(),
	})
}

// maxBody is what Anthropic's API takes; OpenAI's is of the same order.
const maxBody = 32 << 20

// credentialOf returns the credential of r and how it was written; both empty without one.
func credentialOf(r *http.Request) (secret.Value, string) {
	if key := r.Header.Get("X-Api-Key"); key != "" {
		return secret.New(key), "x-api-key"
	}
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return secret.Value{}, ""
	}
	return secret.New(strings.TrimSpace(token)), "Bearer"
}

// accepts reports whether one of the keys is scheme and v.
func (a *API) accepts(scheme string, v secret.Value) bool {
	for _, k := range a.cfg.Keys {
		if k.Scheme == scheme && !k.Value.Empty() && k.Value.Reveal() == v.Reveal() {
			return true
		}
	}
	return false
}

// answer is the turn for c; a request that offers no shell tool is none of the script's.
func (a *API) answer(c Conversation, canRun bool) Turn {
	var t Turn
	if canRun {
		t = a.cfg.Script(c)
	}
	if t.Text == "" && len(t.Commands) == 0 {
		t.Text = Greeting
	}
	return t
}
