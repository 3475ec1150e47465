package standin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/standin"
)

// The example of Amazon's own documentation: "Example: GET Object" of
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
func awsExample(t *testing.T) (standin.AWSKey, *http.Request, time.Time) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = r.URL.Host
	r.Header = http.Header{
		"Range":                {"bytes=0-9"},
		"X-Amz-Content-Sha256": {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"X-Amz-Date":           {"20130524T000000Z"},
		"Authorization": {"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
			"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
	}
	key := standin.AWSKey{ID: "AKIAIOSFODNN7EXAMPLE", Secret: secret.New("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")}
	return key, r, time.Date(2013, 5, 24, 0, 10, 0, 0, time.UTC)
}

func TestAWSKeyTakesAmazonsOwnExample(t *testing.T) {
	t.Parallel()
	key, r, now := awsExample(t)
	if err := key.Check(r, nil, now); err != nil {
		t.Error(err)
	}
}

func TestAWSKeyRefusesWhatAmazonRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(key *standin.AWSKey, r *http.Request)
		body   string
		late   time.Duration
		want   string
	}{
		"another path":      {func(_ *standin.AWSKey, r *http.Request) { r.URL.Path = "/other" }, "", 0, "signature"},
		"another query":     {func(_ *standin.AWSKey, r *http.Request) { r.URL.RawQuery = "acl" }, "", 0, "signature"},
		"another method":    {func(_ *standin.AWSKey, r *http.Request) { r.Method = "PUT" }, "", 0, "signature"},
		"another host":      {func(_ *standin.AWSKey, r *http.Request) { r.Host = "s3.test" }, "", 0, "signature"},
		"another field":     {func(_ *standin.AWSKey, r *http.Request) { r.Header.Set("Range", "bytes=0-10") }, "", 0, "signature"},
		"a field is gone":   {func(_ *standin.AWSKey, r *http.Request) { r.Header.Del("Range") }, "", 0, "range is signed and not there"},
		"a field is new":    {func(_ *standin.AWSKey, r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") }, "", 0, "x-amz-acl is not signed"},
		"another body":      {func(*standin.AWSKey, *http.Request) {}, "x", 0, "the body's is"},
		"no hash":           {func(_ *standin.AWSKey, r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }, "", 0, "x-amz-content-sha256 is missing"},
		"too late":          {func(*standin.AWSKey, *http.Request) {}, "", time.Hour, "it is signed at"},
		"another key":       {func(k *standin.AWSKey, _ *http.Request) { k.Secret = secret.New("x") }, "", 0, "signature"},
		"an unknown key":    {func(k *standin.AWSKey, _ *http.Request) { k.ID = "AKIAOTHER" }, "", 0, "not known"},
		"a session missing": {func(k *standin.AWSKey, _ *http.Request) { k.Session = secret.New("s") }, "", 0, "session token"},
		"no signature":      {func(_ *standin.AWSKey, r *http.Request) { r.Header.Del("Authorization") }, "", 0, "0 Authorization fields"},
		"another scheme":    {func(_ *standin.AWSKey, r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, "", 0, "not signed"},
	} {
		key, r, now := awsExample(t)
		c.change(&key, r)
		if err := key.Check(r, []byte(c.body), now.Add(c.late)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
