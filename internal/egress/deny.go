package egress

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// deniedHeader marks every answer that is the engine's own and not an upstream's: "denied" or
// "failed".
const deniedHeader = "X-Claude-Bottle"

// deniedError is a denial that is met on the way of a request that the policy allows: by its address,
// its size, what it turns out to carry.
type deniedError struct{ verdict policy.Verdict }

func (e *deniedError) Error() string { return e.verdict.Why }

// denyWrite is how long a denial may take to be read. A bottle that asks and does not listen holds
// nothing.
const denyWrite = 10 * time.Second

// explanation is what a denial tells, as JSON for programs that ask for it. The error object is
// shaped as the model APIs' own, so that agents show its message.
type explanation struct {
	Error struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
	Request string `json:"request"`
	Rule    string `json:"rule,omitempty"`
	Why     string `json:"why"`
	Ask     string `json:"ask,omitempty"`
}

// deny answers with v in words and records the exchange.
func (x *exchange) deny(v policy.Verdict, status int) {
	if len(x.findings) == 0 {
		x.alarm()
	}
	x.told(v, status)
	x.record()
}

// told answers with v in words.
func (x *exchange) told(v policy.Verdict, status int) {
	v.Why, v.Ask = x.why(v)
	x.verdict, x.status = v, status
	x.explain("denied", "was denied by this bottle's policy", v, status)
}

// fail answers for an upstream that could not be used. The verdict stays what it was.
func (x *exchange) fail(err error) {
	x.status = http.StatusBadGateway
	why := inert.Text(x.e.scrub.text(reason(err)), 512)
	x.explain("failed", "was allowed, but the upstream failed", policy.Verdict{Rule: x.verdict.Rule, Why: why}, x.status)
}

func (x *exchange) explain(mark, what string, v policy.Verdict, status int) {
	request := x.describe()
	var body []byte
	kind := "text/plain; charset=utf-8"
	if strings.Contains(x.r.Header.Get("Accept"), "json") {
		kind = "application/json"
		ex := explanation{Request: request, Rule: v.Rule, Why: v.Why, Ask: v.Ask}
		ex.Error.Type = "claude_bottle_" + mark
		ex.Error.Message = fmt.Sprintf("claude-bottle: %s %s: %s.%s", request, what, v.Why, hint(v.Ask))
		body, _ = json.Marshal(ex) // strings alone always marshal
		body = append(body, '\n')
	} else {
		body = fmt.Appendf(nil, "claude-bottle: %s\n\n%s %s.\nWhy: %s.\n", mark, request, what, v.Why)
		if v.Rule != "" {
			body = fmt.Appendf(body, "Rule: %s\n", inert.Text(v.Rule, 128))
		}
		if v.Ask != "" && !strings.HasPrefix(v.Ask, "#") {
			body = fmt.Appendf(body, "\nIf the task needs it, ask your operator to add this to the bottle's manifest:\n\n%s", v.Ask)
		}
	}
	if x.method == http.MethodConnect && x.r.ProtoMajor == 1 {
		x.explainConnect(kind, mark, v.Why, body, status)
		return
	}
	h := x.w.Header()
	clear(h)
	h.Set(deniedHeader, mark)
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if x.r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(denyWrite)) // every writer of ours can
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // a client that left does not read it
}

// explainConnect answers CONNECT itself, because net/http has no say in the status line, and the
// status line is the one part of the answer that most clients show.
func (x *exchange) explainConnect(kind, mark, why string, body []byte, status int) {
	c, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		http.Error(x.w, "claude-bottle: "+mark, status)
		return
	}
	defer func() { _ = c.Close() }() // the answer was the last of it
	_ = c.SetDeadline(time.Now().Add(denyWrite))
	// The reason phrase is one line of visible ASCII.
	phrase := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, inert.Text("claude-bottle: "+why, 200))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 %d %s\r\n%s: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, phrase, deniedHeader, mark, kind, len(body), body) // a client that left does not read it
}

// hint says in a sentence what an Ask says in YAML.
func hint(ask string) string {
	if ask == "" || strings.HasPrefix(ask, "#") {
		return ""
	}
	return " If the task needs it, ask your operator to add to the bottle's manifest:\n" + ask
}

// describe names the request as the bottle would: "GET https://host:8443/path".
func (x *exchange) describe() string {
	scheme, standard := "http://", uint16(80)
	switch {
	case x.method == http.MethodConnect:
		scheme, standard = "", 0
	case x.tls:
		scheme, standard = "https://", 443
	}
	host, path := x.shown()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if x.port != 0 && x.port != standard {
		host += ":" + strconv.Itoa(int(x.port))
	}
	if x.method == "" {
		if x.host == "" {
			return "A request to the proxy"
		}
		return "A request on the connection to " + host // of which nothing can be said
	}
	return inert.Text(x.method, 32) + " " + scheme + host + path
}
