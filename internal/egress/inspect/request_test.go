package inspect_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/claude-bottle/claude-bottle/internal/egress/inspect"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
)

const (
	bait = "AKIAQ3ZV7T5KJ2WXN4LB"
	// innocent is as long and as random as held.
	innocent = "Zp4TnC8sWy1KfGd6RvQx3MbJ"
)

func request(t testing.TB, method, target, body string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// Attack C01, C02, C05: every surface of a head, and the same with a value nobody holds.
func TestC01C02C05NoSurfaceOfAHeadCarriesASecret(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(v string) *http.Request{
		"the path":        func(v string) *http.Request { return request(t, "GET", "https://h.test/a/"+v+"/b", "") },
		"an escaped path": func(v string) *http.Request { return request(t, "GET", "https://h.test/%2f"+percent(v), "") },
		"the query":       func(v string) *http.Request { return request(t, "GET", "https://h.test/?q="+v, "") },
		"base64 in query": func(v string) *http.Request {
			return request(t, "GET", "https://h.test/?q="+url.QueryEscape(b64(v)), "")
		},
		"two parameters": func(v string) *http.Request { return request(t, "GET", "https://h.test/?a="+v[:11]+"&b="+v[11:], "") },
		"path segments": func(v string) *http.Request {
			return request(t, "GET", "https://h.test/"+v[:6]+"/"+v[6:15]+"/"+v[15:], "")
		},
		"a header":        func(v string) *http.Request { return request(t, "GET", "https://h.test/", "", "X-Note", "see "+v) },
		"a header's name": func(v string) *http.Request { return request(t, "GET", "https://h.test/", "", "X-"+v, "1") },
		"two headers": func(v string) *http.Request {
			return request(t, "GET", "https://h.test/", "", "X-A", v[:12], "X-B", v[12:])
		},
		"one header twice": func(v string) *http.Request {
			return request(t, "GET", "https://h.test/", "", "X-A", v[:12], "X-A", v[12:])
		},
		"the user agent": func(v string) *http.Request {
			return request(t, "GET", "https://h.test/", "", "User-Agent", "curl/8 ("+hex.EncodeToString([]byte(v))+")")
		},
		"a cookie": func(v string) *http.Request { return request(t, "GET", "https://h.test/", "", "Cookie", "s=1; t="+v) },
		"authorization": func(v string) *http.Request {
			return request(t, "GET", "https://h.test/", "", "Authorization", "Basic "+b64("u:"+v))
		},
	} {
		for v, stops := range map[string]bool{held: true, innocent: false} {
			r := make(v)
			rep := inspector(t).Head(r, "h.test", r.URL.EscapedPath(), policy.Scan{OnMatch: policy.Redact})
			if rep.Stopped() != stops {
				t.Errorf("%s with %q: %+v", name, v, rep)
			}
			if stops && (rep.Blocked.Rule != "HELD" || strings.Contains(rep.Blocked.String()+rep.Verdict("r").Ask+rep.Blocked.Excerpt, held[:10])) {
				t.Errorf("%s: %s", name, rep.Blocked)
			}
		}
	}
	rep := inspector(t).Name(hex.EncodeToString([]byte(held))[:48]+".ok.test", policy.Scan{})
	if !rep.Stopped() {
		t.Error("a host name carries a secret")
	}
}

// prose is n bytes of text that is no bomb when it is compressed.
func prose(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "All work and no play (%d) makes Jack %d a dull boy.\n", i, i*i%9973)
	}
	return b.String()[:n]
}

// Fields that were found innocent are known again; those with a secret are found every time.
func TestFieldsAreFoundEveryTime(t *testing.T) {
	t.Parallel()
	in := inspector(t)
	for range 3 {
		for v, stops := range map[string]bool{held: true, innocent: false} {
			r := request(t, "GET", "https://h.test/", "", "X-Note", v)
			if rep := in.Head(r, "h.test", "/", policy.Scan{}); rep.Stopped() != stops {
				t.Errorf("%q: %+v", v, rep)
			}
			if rep := in.Head(r, "h.test", "/", policy.Scan{Allow: []string{"HELD"}}); rep.Stopped() {
				t.Errorf("%q, let go: %+v", v, rep)
			}
		}
	}
}

func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// send gives a request's body to the inspector as the engine does, and returns what arrives.
func send(in *inspect.Inspector, r *http.Request, s policy.Scan) (arrived []byte, rep inspect.Report, err error) {
	b, rep := in.Body(r, "h.test/x", s)
	if rep.Stopped() {
		return nil, rep, &inspect.StoppedError{Report: rep}
	}
	defer func() { _ = b.Close() }()
	arrived, err = io.ReadAll(b)
	return arrived, b.Report(), err
}

func coded(t testing.TB, name string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch name {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "br":
		w = brotli.NewWriter(&out)
	case "zstd":
		w, _ = zstd.NewWriter(&out)
	}
	_, err := w.Write(b)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Attacks C02 to C05, C07, C08: no body carries a secret, short or long, whatever it says it is.
func TestC02C03C04C05C07C08NoBodyCarriesASecret(t *testing.T) {
	t.Parallel()
	long := prose(2 << 20)
	type body struct {
		text   string
		header []string
	}
	for name, make := range map[string]func(v string) body{
		"text": func(v string) body { return body{"x " + v + " y", nil} },
		"JSON": func(v string) body {
			return body{`{"a":{"b":["` + v + `"]}}`, []string{"Content-Type", "application/json"}}
		},
		"a key of JSON": func(v string) body { return body{`{"` + v + `":1}`, []string{"Content-Type", "application/json"}} },
		"JSON elements": func(v string) body {
			return body{`{"a":["` + v[:9] + `","` + v[9:] + `"]}`, []string{"Content-Type", "application/json"}}
		},
		"JSON escapes": func(v string) body {
			return body{`{"a":"` + unicode(v) + `"}`, []string{"Content-Type", "application/json"}}
		},
		"a form":           func(v string) body { return body{"a=1&b=" + percent(v), []string{"Content-Type", formType}} },
		"a form, in parts": func(v string) body { return body{"a=" + v[:12] + "&b=" + v[12:], []string{"Content-Type", formType}} },
		"a lie":            func(v string) body { return body{`{"a":"` + v + `"}`, []string{"Content-Type", "image/png"}} },
		"base64 of hex":    func(v string) body { return body{b64("data: " + hex.EncodeToString([]byte(v))), nil} },
		"gzip": func(v string) body {
			return body{string(coded(t, "gzip", []byte(v))), []string{"Content-Encoding", "gzip"}}
		},
		"br": func(v string) body {
			return body{string(coded(t, "br", []byte("x "+v))), []string{"Content-Encoding", "br"}}
		},
		"zstd": func(v string) body {
			return body{string(coded(t, "zstd", []byte(v))), []string{"Content-Encoding", "zstd"}}
		},
		"gzip twice": func(v string) body {
			return body{string(coded(t, "gzip", coded(t, "gzip", []byte(v)))), []string{"Content-Encoding", "gzip, gzip"}}
		},
		"gzip nobody names": func(v string) body { return body{string(coded(t, "gzip", []byte(v))), nil} },
		"a file in a zip":   func(v string) body { return body{zipped(t, "notes.txt", v), nil} },
		"a name in a zip":   func(v string) body { return body{zipped(t, v+".txt", "x"), nil} },
		"a file in a tar":   func(v string) body { return body{tarred(t, "notes.txt", v), nil} },
		"a name in a tar":   func(v string) body { return body{tarred(t, v+".txt", "x"), nil} },
		"a tar.gz":          func(v string) body { return body{string(coded(t, "gzip", []byte(tarred(t, "a/b", v)))), nil} },
		"a form's file": func(v string) body {
			text, kind := multipartOf(t, "f", "x.txt", v)
			return body{text, []string{"Content-Type", kind}}
		},
		"a file's name": func(v string) body {
			text, kind := multipartOf(t, "f", v, "x")
			return body{text, []string{"Content-Type", kind}}
		},
		"a field's name": func(v string) body {
			text, kind := multipartOf(t, v, "x", "x")
			return body{text, []string{"Content-Type", kind}}
		},
		"a zip in a form": func(v string) body {
			text, kind := multipartOf(t, "f", "x", zipped(t, "n", v))
			return body{text, []string{"Content-Type", kind}}
		},
		"aws-chunked": func(v string) body {
			return body{"10;chunk-signature=00\r\nx " + v + "\r\n0\r\n", []string{"Content-Encoding", "aws-chunked"}}
		},
		"after 2 MB": func(v string) body { return body{long + v, nil} },
		"amid 4 MB":  func(v string) body { return body{long + v + long, nil} },
		"gzip of 4 MB": func(v string) body {
			return body{string(coded(t, "gzip", []byte(long+v+long))), []string{"Content-Encoding", "gzip"}}
		},
		"a tar of 2 MB":    func(v string) body { return body{tarred(t, "x", long, "y", v), nil} },
		"a tar.gz of 2 MB": func(v string) body { return body{string(coded(t, "gzip", []byte(tarred(t, "x", long, "y", v)))), nil} },
	} {
		for how, shape := range map[string]func(*http.Request){
			"length known":   func(*http.Request) {},
			"length unknown": func(r *http.Request) { r.ContentLength = -1 },
			"in small reads": func(r *http.Request) { r.ContentLength, r.Body = -1, io.NopCloser(iotest.HalfReader(r.Body)) },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				for v, stops := range map[string]bool{held: true, innocent: false} {
					b := make(v)
					r := request(t, "POST", "https://h.test/x", b.text, b.header...)
					shape(r)
					got, rep, err := send(inspector(t), r, policy.Scan{})
					if _, ok := errors.AsType[*inspect.StoppedError](err); ok != stops {
						t.Fatalf("with %q: %v, %+v", v, err, rep)
					}
					if !stops && string(got) != b.text {
						t.Errorf("what passes was changed: %d bytes of %d", len(got), len(b.text))
					}
					if stops && strings.Contains(string(got), held) {
						t.Error("it arrived, and then the body was stopped")
					}
				}
			})
		}
	}
}

const formType = "application/x-www-form-urlencoded"

func unicode(s string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, `\u%04x`, c)
	}
	return b.String()
}

func zipped(t testing.TB, name, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = io.WriteString(f, content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func tarred(t testing.TB, namesAndContents ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(namesAndContents); i += 2 {
		name, content := namesAndContents[i], namesAndContents[i+1]
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))})
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func multipartOf(t testing.TB, field, file, content string) (body, kind string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	f, err := w.CreateFormFile(field, file)
	if err == nil {
		_, err = io.WriteString(f, content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

// A conversation with a model may quote a secret: it is overwritten, and nothing around it changes.
func TestD09SecretsInAConversationAreOverwritten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("All work and no play makes Jack a dull boy.\\n", 50_000)
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"1","key":"` + held + `"}`))
	for name, v := range map[string]string{
		"as it is": held, "base64": b64("key=" + held + ";"), "hex": hex.EncodeToString([]byte(held)), "the canary": bait,
		"in a database's URL": "postgres://app:" + held + "@db.test/x", "a JWT's claim": "eyJhbGciOiJub25lIn0." + claims + ".c2ln",
	} {
		for _, pad := range []string{"", long} {
			text := `{"messages":[{"role":"user","content":"` + pad + `the key is ` + v + ` indeed` + pad + `"}]}`
			r := request(t, "POST", "https://api.test/v1/messages", text, "Content-Type", "application/json")
			got, rep, err := send(inspector(t), r, policy.Scan{Model: true})
			if err != nil || len(rep.Redacted) == 0 {
				t.Fatalf("%s: %v, %+v", name, err, rep)
			}
			from := strings.Index(text, v)
			if len(got) != len(text) || string(got[:from]) != text[:from] || string(got[from+len(v):]) != text[from+len(v):] {
				t.Errorf("%s: what is around it changed: %.200q", name, got)
			}
			if strings.Contains(string(got), v) || strings.Contains(string(got), held) {
				t.Errorf("%s: it is still there", name)
			}
		}
	}
}

// An agent that shows its placeholder to its model, or to anybody, has shown nothing, whatever follows it. The
// twin is a key that is cut in two.
func TestC16APlaceholderAtTheEndOfAValueIsNone(t *testing.T) {
	t.Parallel()
	const random = "0123456789abcdef01234567"
	follows := strings.Repeat("Qw3eRt6yUi9oPa2sDf5gHj8kLz1xCv4bNm7", 3)
	for name, c := range map[string]struct {
		value   string
		scan    policy.Scan
		stopped bool
	}{
		"a placeholder, to a model":       {"ANTHROPIC_API_KEY=sk-ant-api03-bottle-placeholder-" + random, policy.Scan{Model: true}, false},
		"a placeholder, to somebody else": {"sk-ant-oat01-bottle-placeholder-" + random, policy.Scan{}, false},
		"half a key, to a model":          {"sk-ant-api03-a9Xk2LmQ7vR4tZ8cB1nW6yD3", policy.Scan{Model: true}, false},
		"half a key, to somebody else":    {"sk-ant-api03-a9Xk2LmQ7vR4tZ8cB1nW6yD3", policy.Scan{}, true},
	} {
		r := request(t, "POST", "https://api.test/v1/messages", `{"messages":[{"content":"`+c.value+`"},{"content":"`+follows+`"}]}`, "Content-Type", "application/json")
		_, rep, _ := send(full(t), r, c.scan)
		if rep.Stopped() != c.stopped {
			t.Errorf("%s: %+v", name, rep)
		}
	}
}

func TestABodyNobodyCanLookIntoIsRefused(t *testing.T) {
	t.Parallel()
	bomb := coded(t, "gzip", make([]byte, 64<<20))
	for name, r := range map[string]*http.Request{
		"a coding of its own": request(t, "POST", "https://h.test/x", "?", "Content-Encoding", "x-secret"),
		"no gzip":             request(t, "POST", "https://h.test/x", "plain", "Content-Encoding", "gzip"),
		"half of a gzip":      request(t, "POST", "https://h.test/x", string(coded(t, "gzip", []byte(innocent)))[:20], "Content-Encoding", "gzip"),
		"a bomb":              request(t, "POST", "https://h.test/x", string(bomb), "Content-Encoding", "gzip"),
		"a bomb nobody names": request(t, "POST", "https://h.test/x", string(bomb)),
	} {
		for _, length := range []int64{r.ContentLength, -1} {
			r := r.Clone(t.Context())
			body, _ := r.GetBody()
			r.Body, r.ContentLength = body, length
			_, rep, err := send(inspector(t), r, policy.Scan{Model: true})
			if !rep.Stopped() || err == nil || rep.Verdict("r").Why == "" {
				t.Errorf("%s: %v, %+v", name, err, rep)
			}
		}
	}
}

// Attack C06: eight bytes at a time, in no order, to many hosts and among other things.
func TestC06ASecretThatLeavesInPiecesIsNoticed(t *testing.T) {
	t.Parallel()
	for v, found := range map[string]bool{held: true, innocent: false} {
		in := inspector(t)
		stopped := false
		for i, at := range []int{16, 0, 8} {
			host := fmt.Sprintf("h%d.test", i)
			for n := range 20 {
				r := request(t, "GET", fmt.Sprintf("https://%s/noise/%d?page=%d", host, n*7919, n), "")
				if rep := in.Head(r, host, r.URL.EscapedPath(), policy.Scan{}); rep.Stopped() {
					t.Fatalf("noise: %+v", rep)
				}
			}
			r := request(t, "GET", "https://"+host+"/?q="+v[at:at+8], "")
			rep := in.Head(r, host, "/", policy.Scan{})
			stopped = stopped || rep.Stopped()
		}
		if stopped != found {
			t.Errorf("%q in three pieces: stopped %v", v, stopped)
		}
	}
}

func TestARouteLetsGoWhatItNamesAndNoCanary(t *testing.T) {
	t.Parallel()
	in := inspector(t)
	for _, c := range []struct {
		s     policy.Scan
		text  string
		stops bool
	}{
		{policy.Scan{Allow: []string{"HELD"}}, held, false},
		{policy.Scan{Allow: []string{"OTHER"}}, held, true},
		{policy.Scan{Off: []policy.Detector{policy.KnownSecrets}}, held, false},
		{policy.Scan{Off: []policy.Detector{policy.TokenPatterns}}, held, true},
		{policy.Scan{OnMatch: policy.Redact}, held, false},
		{policy.Scan{OnMatch: policy.Redact}, bait, true},
		{policy.Scan{OnMatch: policy.Block, Model: true}, bait, true},
		{policy.Scan{Allow: []string{"BAIT"}, Off: []policy.Detector{policy.KnownSecrets, policy.TokenPatterns}}, bait, true},
	} {
		_, rep, _ := send(in, request(t, "POST", "https://h.test/x", "x "+c.text), c.s)
		if rep.Stopped() != c.stops {
			t.Errorf("%+v: %+v", c, rep)
		}
		if rep.Stopped() && c.text == bait && rep.Blocked.Kind != scan.Canary {
			t.Errorf("%+v: not the canary: %+v", c, rep.Blocked)
		}
	}
}

func TestTrailersAreLookedAt(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{4, -1} {
		r := request(t, "POST", "https://h.test/x", "body")
		r.ContentLength = length
		r.Trailer = http.Header{"X-Sum": {held}}
		if _, rep, err := send(inspector(t), r, policy.Scan{}); !rep.Stopped() {
			t.Errorf("%+v, %v", rep, err)
		}
	}
}

// Bodies that come in answer to what was sent must not wait for the next piece.
func TestABodyOfUnknownLengthIsNotHeldBack(t *testing.T) {
	t.Parallel()
	pr, pw := io.Pipe()
	r := request(t, "POST", "https://h.test/x", "")
	r.Body, r.ContentLength = pr, -1
	b, _ := inspector(t).Body(r, "h.test/x", policy.Scan{})
	buf := make([]byte, 100)
	for _, word := range []string{"hello ", "are ", "you ", "there"} {
		go func() { _, _ = io.WriteString(pw, word) }()
		if n, err := b.Read(buf); err != nil || string(buf[:n]) != word {
			t.Fatalf("read %q, %v", buf[:n], err)
		}
	}
	_ = b.Close()
}

func TestABodyOfUnknownLengthGoesOnAfterWhatWasOverwritten(t *testing.T) {
	t.Parallel()
	pr, pw := io.Pipe()
	r := request(t, "POST", "https://h.test/x", "")
	r.Body, r.ContentLength = pr, -1
	b, _ := inspector(t).Body(r, "h.test/x", policy.Scan{OnMatch: policy.Redact})
	buf := make([]byte, 1<<10)
	for i, word := range []string{"the key is " + held + ", ", "and ", "so ", "on"} {
		go func() { _, _ = io.WriteString(pw, word) }()
		n, err := b.Read(buf)
		if got := string(buf[:n]); err != nil || len(got) != len(word) || strings.Contains(got, held) || i > 0 && got != word {
			t.Fatalf("%q arrived as %q, %v", word, got, err)
		}
	}
	_ = b.Close()
	if rep := b.Report(); rep.Stopped() || len(rep.Redacted) != 1 {
		t.Errorf("%+v", rep)
	}
}

func TestWebSocketMessagesAreOverwrittenWhereTheyMay(t *testing.T) {
	t.Parallel()
	redact := policy.Scan{OnMatch: policy.Redact}
	for name, c := range map[string]struct {
		plain   bool
		parts   []string
		stopped bool
	}{
		"one message":               {true, []string{"x " + held + " y"}, false},
		"one compressed":            {false, []string{"x " + held + " y"}, true},
		"the second of three parts": {true, []string{"x", "x " + held + " y", "y"}, false},
		"over two parts":            {true, []string{"x " + held[:9], held[9:] + " y"}, true},
	} {
		conversation := inspector(t).Conversation("h.test/ws", redact, c.plain)
		stopped := false
		for i, p := range c.parts {
			part := []byte(p)
			rep := conversation.Say(part, i == len(c.parts)-1)
			stopped = stopped || rep.Stopped()
			has := strings.Contains(p, held)
			if strings.Contains(string(part), held) != (has && !c.plain) || len(rep.Redacted) > 0 != (has && c.plain) || len(part) != len(p) {
				t.Errorf("%s: part %q, %+v", name, part, rep)
			}
		}
		if stopped != c.stopped {
			t.Errorf("%s: stopped %v", name, stopped)
		}
	}
}

func TestWebSocketMessagesAreLookedAt(t *testing.T) {
	t.Parallel()
	for v, found := range map[string]bool{held: true, innocent: false} {
		for name, parts := range map[string][]string{
			"one message":       {"x " + v},
			"one message, long": {strings.Repeat("la ", 20_000) + v[:9], "\x00" + v[9:] + strings.Repeat(" la", 20_000)},
			"three messages":    {v[:8] + "\x00", v[8:16] + "\x00", v[16:] + "\x00"},
		} {
			c := inspector(t).Conversation("h.test/ws", policy.Scan{}, true)
			stopped := false
			for _, p := range parts {
				last := name != "one message, long" || strings.HasPrefix(p, "\x00")
				rep := c.Say([]byte(strings.Trim(p, "\x00")), last)
				stopped = stopped || rep.Stopped()
			}
			if stopped != found {
				t.Errorf("%s of %q: stopped %v", name, v, stopped)
			}
		}
	}
}
