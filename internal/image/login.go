package image

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
)

// configMax bounds a Docker client's config.json, in bytes.
const configMax = 1 << 20

// login returns the stored login for ref's registry as the engine takes it; empty when there is
// none, and the engine pulls as anybody. Credential helpers are not run. What it returns is a
// credential: it goes into the one request and nowhere else.
func login(config, ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if config == "" || err != nil {
		return ""
	}
	text, err := readBounded(config, configMax)
	if err != nil {
		return ""
	}
	var file struct {
		Auths map[string]struct {
			Auth          string `json:"auth"` // base64 of "user:password"
			IdentityToken string `json:"identitytoken"`
		} `json:"auths"`
	}
	if json.Unmarshal([]byte(text), &file) != nil {
		return ""
	}
	for name, a := range file.Auths {
		if registryOf(name) != reference.Domain(named) {
			continue
		}
		both, err := base64.StdEncoding.DecodeString(a.Auth)
		if err != nil {
			return ""
		}
		user, password, _ := strings.Cut(strings.TrimRight(string(both), "\x00"), ":")
		if a.IdentityToken != "" {
			password = ""
		}
		if user == "" && a.IdentityToken == "" {
			return "" // the login is with a credential helper
		}
		header, err := authconfig.Encode(registry.AuthConfig{
			Username: user, Password: password, IdentityToken: a.IdentityToken, ServerAddress: name,
		})
		if err != nil {
			return ""
		}
		return header
	}
	return ""
}

// registryOf is the host in a key of config.json, in the words of image names:
// "https://index.docker.io/v1/" is "docker.io".
func registryOf(key string) string {
	_, rest, ok := strings.Cut(key, "://")
	if !ok {
		rest = key
	}
	host, _, _ := strings.Cut(rest, "/")
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}
