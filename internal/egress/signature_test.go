package egress_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/claude-bottle/claude-bottle/internal/egress"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/standin"
)

const (
	bottleID  = "BOTTLE7Q2ZT5KJ2WXN4L"
	bottleKey = "bottle-placeholder-of-the-secret-key-012"
)

// awsKeyOf is the operator's key, which no bottle has.
func awsKeyOf(session string) standin.AWSKey {
	return standin.AWSKey{ID: "AKIDREALREALREALREAL", Secret: secret.New("real/secret+key/of/the/operators/own0001"), Session: secret.New(session)}
}

// amazon is a service that takes what is signed with its key, and nothing else.
type amazon struct {
	*httptest.Server
	key    standin.AWSKey
	mu     sync.Mutex
	bodies []string
	fields []http.Header
}

func newAmazon(t *testing.T, key standin.AWSKey) *amazon {
	t.Helper()
	a := &amazon{key: key}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client left
		}
		a.mu.Lock()
		a.bodies, a.fields = append(a.bodies, string(body)), append(a.fields, r.Header)
		a.mu.Unlock()
		if err := a.key.Check(r, body, time.Now()); err != nil {
			http.Error(w, "SignatureDoesNotMatch: "+err.Error(), http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, "taken, with "+r.Header.Get("X-Amz-Security-Token"))
	}))
	a.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that break off are what some tests want
	a.EnableHTTP2 = true
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func (a *amazon) seen() ([]string, []http.Header) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bodies, a.fields
}

// world is one whose rule for llm.test signs for the service.
func (a *amazon) world(t *testing.T, edit ...func(*policy.Route)) *world {
	t.Helper()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}))
	r := route(t, "aws", "llm.test", append([]func(*policy.Route){func(r *policy.Route) {
		r.Upstream = &policy.Upstream{URL: a.URL, CA: ca}
		r.Auth = &policy.Auth{Scheme: policy.SchemeAWS, Ref: "AWS_SECRET_ACCESS_KEY", KeyID: "AWS_ACCESS_KEY_ID", Placeholder: bottleID}
		if !a.key.Session.Empty() {
			r.Auth.Session = "AWS_SESSION_TOKEN"
		}
	}}, edit...)...)
	return newWorld(t, []policy.Route{r, route(t, "ok", "ok.test")}, func(c *egress.Config) {
		c.Secrets["AWS_ACCESS_KEY_ID"] = secret.New(a.key.ID)
		c.Secrets["AWS_SECRET_ACCESS_KEY"] = a.key.Secret
		c.Secrets["AWS_SESSION_TOKEN"] = a.key.Session
	})
}

// signed is a request as a program in the bottle makes it, with Amazon's own signer.
func signed(t *testing.T, method, url, body, service, payload string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if payload == "" {
		sum := sha256.Sum256([]byte(body))
		payload = hex.EncodeToString(sum[:])
	}
	if service == "s3" {
		req.Header.Set("X-Amz-Content-Sha256", payload)
	}
	key := aws.Credentials{AccessKeyID: bottleID, SecretAccessKey: bottleKey}
	if err := v4.NewSigner().SignHTTP(context.Background(), key, req, payload, service, "eu-central-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	return req
}

func TestD09RequestsToAmazonAreSignedAnew(t *testing.T) {
	t.Parallel()
	for _, session := range []string{"", session} {
		a := newAmazon(t, awsKeyOf(session))
		w := a.world(t)
		for name, req := range map[string]*http.Request{
			"a call":           signed(t, "POST", "https://llm.test/", `{"TableName":"pets"}`, "dynamodb", ""),
			"a query":          signed(t, "GET", "https://llm.test/?Version=2010-05-08&Action=ListUsers&b=%2F%20x&b=", "", "iam", ""),
			"a path":           signed(t, "GET", "https://llm.test/a%20b/c%2Fd/~e", "", "execute-api", ""),
			"an object":        signed(t, "PUT", "https://llm.test/bucket/a%20file.txt", "what is in it", "s3", ""),
			"nothing":          signed(t, "GET", "https://llm.test/bucket?list-type=2&prefix=", "", "s3", ""),
			"an unsigned body": signed(t, "PUT", "https://llm.test/bucket/big", "whatever", "s3", "UNSIGNED-PAYLOAD"),
			"a body in pieces": signed(t, "PUT", "https://llm.test/bucket/pieces", "5\r\nhello\r\n0\r\n\r\n", "s3", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
		} {
			if res, body := answerTo(t, w.client(), req); res.StatusCode != 200 || strings.Contains(body, "operators") {
				t.Errorf("%s, session %q: %d %q", name, session, res.StatusCode, body)
			}
		}
		// One body has no length that is known before.
		req := signed(t, "POST", "https://llm.test/", `{"TableName":"pets"}`, "dynamodb", "")
		req.ContentLength, req.Body = -1, io.NopCloser(io.MultiReader(strings.NewReader(`{"TableName":`), strings.NewReader(`"pets"}`)))
		req.Header.Del("Content-Length")
		if res, body := answerTo(t, w.client(), req); res.StatusCode != 200 {
			t.Errorf("of unknown length: %d %q", res.StatusCode, body)
		}
		_, fields := a.seen()
		for _, h := range fields {
			if strings.Contains(strings.Join(h["Authorization"], " "), bottleID) || h.Get("X-Amz-Security-Token") != session {
				t.Errorf("session %q: the service saw %v", session, h)
			}
		}
	}
}

func TestD09WhatIsNotSignedWithTheBottlesKeyIsRefused(t *testing.T) {
	t.Parallel()
	a := newAmazon(t, awsKeyOf(""))
	w := a.world(t)
	const scope = "/20261126/eu-central-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"nothing":                {nil, "no signature in Authorization"},
		"another's key":          {[]string{"AWS4-HMAC-SHA256 Credential=AKIDOFTHEATTACKER000" + scope}, "another key"},
		"two":                    {[]string{"AWS4-HMAC-SHA256 Credential=" + bottleID + scope, "AWS4-HMAC-SHA256 Credential=AKIDOFTHEATTACKER000" + scope}, "no signature in Authorization"},
		"the ID as a token":      {[]string{"Bearer " + bottleID}, "AWS4-HMAC-SHA256"},
		"a signature by a curve": {[]string{"AWS4-ECDSA-P256-SHA256 Credential=" + bottleID + scope}, "AWS4-HMAC-SHA256"},
		"the ID as a part":       {[]string{"AWS4-HMAC-SHA256 Credential=" + bottleID + "X" + scope}, "another key"},
		"a broken scope":         {[]string{"AWS4-HMAC-SHA256 Credential=" + bottleID + "/20261126/eu central/s3/aws4_request, SignedHeaders=host, Signature=00"}, "can't be read"},
	} {
		h := http.Header{}
		if c.lines != nil {
			h["Authorization"] = c.lines
		}
		res, body := do(t, w.client(), "GET", "https://llm.test/", h)
		refused(t, res, body, c.want)
		if strings.Contains(body, "ATTACKER") {
			t.Errorf("%s: the denial repeats the key", name)
		}
	}
	req := signed(t, "PUT", "https://llm.test/bucket/x", "x", "s3", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	res, body := answerTo(t, w.client(), req)
	refused(t, res, body, "signs every piece of its body")
	// A link that is signed is of use to whoever has it: none is made.
	res, body = do(t, w.client(), "GET", "https://llm.test/b/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+bottleID+"%2F20261126%2Feu-central-1%2Fs3%2Faws4_request&X-Amz-Signature=00", nil)
	refused(t, res, body, "where that credential does not belong")
	// Elsewhere the ID is a sign that somebody was talked into giving it away.
	res, body = answerTo(t, w.client(), signed(t, "GET", "https://ok.test/", "", "s3", ""))
	refused(t, res, body, "where that credential does not belong")
	if bodies, _ := a.seen(); len(bodies) > 0 {
		t.Errorf("%d requests went upstream", len(bodies))
	}
	if res, body := answerTo(t, w.client(), signed(t, "GET", "https://llm.test/", "", "s3", "")); res.StatusCode != 200 {
		t.Errorf("benign: %d %q", res.StatusCode, body)
	}
}

func TestD09WhatWasOverwrittenIsSignedAsItIsSent(t *testing.T) {
	t.Parallel()
	a := newAmazon(t, awsKeyOf(""))
	w := a.world(t, func(r *policy.Route) { r.Scan.OnMatch = policy.Redact })
	for _, service := range []string{"s3", "dynamodb"} {
		if res, body := answerTo(t, w.client(), signed(t, "PUT", "https://llm.test/b/note", "the password is "+listed, service, "")); res.StatusCode != 200 {
			t.Errorf("%s: %d %q", service, res.StatusCode, body)
		}
	}
	bodies, _ := a.seen()
	for _, b := range bodies {
		if strings.Contains(b, listed) || !strings.HasPrefix(b, "the password is ") {
			t.Errorf("the service saw %q", b)
		}
	}
}

func TestD09BodiesThatAreKeptToBeSignedAreBounded(t *testing.T) {
	t.Parallel()
	a := newAmazon(t, awsKeyOf(""))
	w := a.world(t, func(r *policy.Route) {
		r.Scan.Off = []policy.Detector{policy.KnownSecrets, policy.TokenPatterns, policy.Entropy}
	}) // it takes time
	large := bytes.Repeat([]byte("all work and no play "), 17<<20/21)
	for _, known := range []bool{true, false} {
		req := signed(t, "POST", "https://llm.test/", "", "dynamodb", "")
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(large)), int64(len(large))
		if !known {
			req.ContentLength = -1
		}
		res, body := answerTo(t, w.client(), req)
		refused(t, res, body, "signed")
	}
	if bodies, _ := a.seen(); len(bodies) > 0 {
		t.Errorf("%d requests went upstream", len(bodies))
	}
	// What was kept is let go of: the same again many times over.
	for range 6 {
		if res, body := answerTo(t, w.client(), signed(t, "POST", "https://llm.test/", string(large[:15<<20]), "dynamodb", "")); res.StatusCode != 200 {
			t.Fatalf("benign: %d %q", res.StatusCode, body)
		}
	}
}
