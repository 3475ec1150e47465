package egress

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// The bottle signs its requests to Amazon's services with a worthless key, as its programs are made to.
// What goes upstream is signed anew, for the same service and region:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.

const (
	// maxSigned is how long a body may be that has to be read before it can be signed, in bytes. The
	// services that want that take no longer ones.
	maxSigned = 16 << 20
	// maxSigning bounds what all of those come to at once, in bytes.
	maxSigning = 64 << 20
)

const (
	contentHash  = "X-Amz-Content-Sha256"
	sessionToken = "X-Amz-Security-Token"
	signedDate   = "X-Amz-Date"
)

// awsKey signs with a real key.
type awsKey struct {
	credentials aws.Credentials
	signer, raw *v4.Signer // raw is for services that sign paths as they are sent
}

func newAWSKey(id, key, session secret.Value) *awsKey {
	return &awsKey{
		credentials: aws.Credentials{AccessKeyID: id.Reveal(), SecretAccessKey: key.Reveal(), SessionToken: session.Reveal()},
		signer:      v4.NewSigner(),
		raw:         v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
	}
}

// signature is what a request says it is signed for.
type signature struct {
	region, service string
	fields          []string // signed, in lower case
	payload         string   // what it says of the body: a hash, or a word; empty for nothing
}

// readSignature reads the one signature of a request, which must be made with the key id. Its errors
// complete "the request".
func readSignature(h http.Header, id string) (signature, error) {
	var s signature
	lines := h["Authorization"]
	if len(lines) != 1 {
		return s, errors.New("has no signature in Authorization")
	}
	algorithm, rest, _ := strings.Cut(lines[0], " ")
	if algorithm != "AWS4-HMAC-SHA256" {
		return s, errors.New("is not signed with AWS4-HMAC-SHA256, the only signature that can be made anew")
	}
	said := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		said[name] = value
	}
	scope := strings.Split(said["Credential"], "/")
	if len(scope) != 5 || scope[4] != "aws4_request" || !label(scope[2]) || !label(scope[3]) || said["SignedHeaders"] == "" {
		return s, errors.New("has a signature that can't be read")
	}
	if scope[0] != id {
		return s, errors.New("is signed with another key than the one this bottle was given")
	}
	s.region, s.service, s.fields = scope[2], scope[3], strings.Split(said["SignedHeaders"], ";")
	switch said := h[contentHash]; {
	case len(said) == 0:
	case len(said) > 1:
		return s, errors.New("has more than one " + contentHash)
	case strings.HasPrefix(said[0], "STREAMING-AWS4-"):
		return s, errors.New("signs every piece of its body, which can't be made anew: have the client leave the body unsigned (UNSIGNED-PAYLOAD, payload_signing_enabled = false)")
	default:
		s.payload = said[0]
	}
	return s, nil
}

// label reports whether s may be the name of a region or a service.
func label(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	})
}

// storage reports whether the service is one of S3's, which have rules of their own.
func (s signature) storage() bool { return s.service == "s3" || strings.HasPrefix(s.service, "s3-") }

// sign signs a request that is ready to go upstream, on a route whose credential is a key of Amazon's.
// What is signed are the fields that the bottle signed, and all that Amazon wants signed.
func (x *exchange) sign(out *http.Request) error {
	if x.route.Auth == nil || x.route.Auth.Scheme != policy.SchemeAWS {
		return nil
	}
	key := x.e.creds.values[x.route].aws
	s, err := readSignature(x.r.Header, x.route.Auth.Placeholder)
	if err != nil {
		return err // it was read once already
	}
	if s.payload == "" || x.overwritten() {
		if s.payload, err = x.hash(out); err != nil {
			return err
		}
	}
	for _, name := range []string{"Date", signedDate, sessionToken} {
		out.Header.Del(name)
	}
	if s.storage() || out.Header[contentHash] != nil {
		out.Header[contentHash] = []string{s.payload}
	}
	url := *out.URL // the signer puts its query in order
	signed := &http.Request{Method: out.Method, URL: &url, Host: out.URL.Host, Header: http.Header{}}
	for name, values := range out.Header {
		if strings.HasPrefix(name, "X-Amz-") || slices.Contains(s.fields, strings.ToLower(name)) {
			signed.Header[name] = values
		}
	}
	if slices.Contains(s.fields, "content-length") {
		signed.ContentLength = out.ContentLength
	}
	signer := key.signer
	if s.storage() {
		signer = key.raw
	}
	if err := signer.SignHTTP(x.r.Context(), key.credentials, signed, s.payload, s.service, s.region, time.Now()); err != nil {
		return fmt.Errorf("the request can't be signed: %w", err)
	}
	for _, name := range []string{"Authorization", signedDate, sessionToken} {
		if v := signed.Header[name]; v != nil {
			out.Header[name] = v
		}
	}
	return nil
}

// overwritten reports whether something of the body was, so that what the bottle says of it is wrong.
func (x *exchange) overwritten() bool { return x.body != nil && len(x.body.Report().Redacted) > 0 }

// hash reads the whole body of a request and returns its SHA-256 in hexadecimal; the request then
// carries what was read.
func (x *exchange) hash(out *http.Request) (string, error) {
	if out.Body == nil {
		return hexSum(nil), nil
	}
	room := out.ContentLength
	if room < 0 {
		room = maxSigned
	}
	free := func() { x.e.signing.Add(-room) }
	if x.e.signing.Add(room) > maxSigning || room > maxSigned {
		free()
		return "", &deniedError{policy.Verdict{Rule: x.route.ID,
			Why: fmt.Sprintf("the request's signature is over its body, and bodies of more than %d MiB, or of %d MiB in all, can't be kept to be signed anew", maxSigned>>20, maxSigning>>20),
			Ask: "# nothing: have the client leave the body unsigned (UNSIGNED-PAYLOAD), or send less at once\n"}}
	}
	body := &signedBody{from: out.Body, free: free}
	out.Body = body
	b, err := io.ReadAll(io.LimitReader(body.from, room+1))
	if err != nil {
		return "", err
	}
	if int64(len(b)) > room {
		return "", &deniedError{policy.Verdict{Rule: x.route.ID, Why: fmt.Sprintf("the request's body has more than the %d bytes that can be signed", room), Ask: "# nothing: send less at once\n"}}
	}
	body.Reader, out.ContentLength = bytes.NewReader(b), int64(len(b))
	return hexSum(b), nil
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// signedBody is a body that was read to be signed.
type signedBody struct {
	*bytes.Reader
	from io.ReadCloser
	free func()
	once sync.Once
}

func (b *signedBody) Close() error {
	b.once.Do(b.free)
	return b.from.Close()
}
