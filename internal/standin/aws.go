package standin

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// AWSKey is a key as Amazon's services know it.
type AWSKey struct {
	ID      string
	Secret  secret.Value
	Session secret.Value // empty for a key that needs none
}

// awsSkew is how far a request's clock may be off.
const awsSkew = 15 * time.Minute

// Check reports why a service of Amazon's would refuse r, whose body is given, as not signed with the
// key at now. It reads the signature from Authorization alone. The rules are those of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, and for s3
// those of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
func (k AWSKey) Check(r *http.Request, body []byte, now time.Time) error {
	lines := r.Header["Authorization"]
	if len(lines) != 1 {
		return fmt.Errorf("it has %d Authorization fields", len(lines))
	}
	said, ok := strings.CutPrefix(lines[0], "AWS4-HMAC-SHA256 ")
	fields := map[string]string{}
	for part := range strings.SplitSeq(said, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if !ok || len(fields) != 3 || len(scope) != 5 || scope[4] != "aws4_request" {
		return fmt.Errorf("it is not signed: %q", lines[0])
	}
	if scope[0] != k.ID {
		return fmt.Errorf("the key %s is not known", scope[0])
	}
	if r.Header.Get("X-Amz-Security-Token") != k.Session.Reveal() {
		return errors.New("the session token is another")
	}
	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", stamp)
	if err != nil || !strings.HasPrefix(stamp, scope[1]) || at.Sub(now).Abs() > awsSkew {
		return fmt.Errorf("it is signed at %q, on the day %q, and it is %v", stamp, scope[1], now)
	}
	payload, err := awsPayload(r, body, scope[3] == "s3")
	if err != nil {
		return err
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	canonical, err := awsCanonical(r, signed, payload, scope[3] == "s3")
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, strings.Join(scope[1:], "/"), hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + k.Secret.Reveal())
	for _, step := range append(scope[1:], text) {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(step))
		key = h.Sum(nil)
	}
	if want := hex.EncodeToString(key); subtle.ConstantTimeCompare([]byte(want), []byte(fields["Signature"])) == 0 {
		return fmt.Errorf("the signature is another than that of\n%s", canonical)
	}
	return nil
}

// awsPayload is what the canonical request says of the body.
func awsPayload(r *http.Request, body []byte, s3 bool) (string, error) {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	switch said := r.Header.Get("X-Amz-Content-Sha256"); {
	case said == "" && s3:
		return "", errors.New("x-amz-content-sha256 is missing")
	case said == "" || said == hash:
		return hash, nil
	case s3 && (said == "UNSIGNED-PAYLOAD" || said == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
		return said, nil
	default:
		return "", fmt.Errorf("x-amz-content-sha256 is %s, and the body's is %s", said, hash)
	}
}

// awsCanonical is the canonical request: the same for whoever signs and whoever checks.
func awsCanonical(r *http.Request, signed []string, payload string, s3 bool) (string, error) {
	if !slices.IsSorted(signed) || !slices.Contains(signed, "host") {
		return "", fmt.Errorf("the signed fields are %v", signed)
	}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(signed, name) {
			return "", fmt.Errorf("%s is not signed", name)
		}
	}
	path := r.URL.EscapedPath()
	if s3 {
		segments := strings.Split(path, "/")
		for i, s := range segments {
			plain, err := url.PathUnescape(s)
			if err != nil {
				return "", err
			}
			segments[i] = awsEscape(plain, false)
		}
		path = strings.Join(segments, "/")
	} else {
		path = awsEscape(path, true)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	var pairs []string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, awsEscape(name, false)+"="+awsEscape(v, false))
		}
	}
	slices.Sort(pairs)
	lines := []string{r.Method, path, strings.Join(pairs, "&")}
	for _, name := range signed {
		values := r.Header.Values(name)
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{fmt.Sprint(r.ContentLength)}
		}
		if len(values) == 0 {
			return "", fmt.Errorf("%s is signed and not there", name)
		}
		for i, v := range values {
			values[i] = strings.Join(strings.Fields(v), " ")
		}
		lines = append(lines, name+":"+strings.Join(values, ","))
	}
	lines = append(lines, "", strings.Join(signed, ";"), payload)
	return strings.Join(lines, "\n"), nil
}

// awsEscape writes every byte but the unreserved ones of RFC 3986 as %XX, and in a path leaves slashes.
func awsEscape(s string, path bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0, path && c == '/':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
