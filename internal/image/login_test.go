package image

import (
	"encoding/base64"
	"testing"

	"github.com/moby/moby/api/pkg/authconfig"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	pair := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	config := put(t, t.TempDir(), "config.json", `{"auths": {
		"https://index.docker.io/v1/": {"auth": "`+pair("hub:p:w")+`"},
		"ghcr.io": {"auth": "`+pair("cat:x")+`"},
		"https://reg.example:5000": {"identitytoken": "tok", "auth": "`+pair("me:")+`"},
		"helped.example": {},
		"broken.example": {"auth": "%"}}}`)
	for ref, want := range map[string]string{
		"debian:12-slim": "hub p:w ",
		"docker.io/me/x": "hub p:w ",
		"ghcr.io/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000": "cat x ",
		"reg.example:5000/x": "me  tok",
		"reg.example/x":      "",
		"helped.example/x":   "",
		"broken.example/x":   "",
		"Not A Name":         "",
	} {
		header, got := login(config, ref), ""
		if header != "" {
			a, err := authconfig.Decode(header)
			if err != nil {
				t.Fatal(err)
			}
			got = a.Username + " " + a.Password + " " + a.IdentityToken
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", ref, got, want)
		}
	}
	for _, file := range []string{"", "/nowhere", put(t, t.TempDir(), "config.json", "nonsense")} {
		if login(file, "debian") != "" {
			t.Errorf("a login from %q", file)
		}
	}
}
