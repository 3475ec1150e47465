package egress

import (
	"net/http"
	"strings"
	"testing"
)

// Whatever is read as a signature is one with the bottle's own key, for one region and one service.
func FuzzD09Signature(f *testing.F) {
	const id = "BOTTLE7Q2ZT5KJ2WXN4L"
	for _, s := range []string{
		"AWS4-HMAC-SHA256 Credential=" + id + "/20261126/eu-central-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00",
		"AWS4-HMAC-SHA256 Credential=" + id + "/20261126/eu-central-1/s3/aws4_request,SignedHeaders=host,Credential=other/1/2/3/aws4_request",
		"AWS4-HMAC-SHA256 Credential=" + id + "/////,SignedHeaders=;;",
		"Bearer " + id, "", "AWS4-HMAC-SHA256",
	} {
		f.Add(s, "UNSIGNED-PAYLOAD")
	}
	f.Fuzz(func(t *testing.T, line, payload string) {
		s, err := readSignature(http.Header{"Authorization": {line}, contentHash: {payload}}, id)
		if err != nil {
			return
		}
		if !label(s.region) || !label(s.service) || len(s.fields) == 0 || s.payload != payload || strings.HasPrefix(payload, "STREAMING-AWS4-") {
			t.Errorf("%q is read as %+v", line, s)
		}
		if !strings.Contains(line, "Credential="+id+"/") {
			t.Errorf("%q is taken for the bottle's own", line)
		}
	})
}
