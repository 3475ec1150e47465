package launch

import (
	"crypto/rand"
	"fmt"

	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// canary is a credential that opens nothing. It lies where thieves look, in the environment and in
// the home, and is made for one bottle: whoever sends it has read what there was no reason to read.
// It has the shape of a pair of AWS keys, which every collector of credentials knows.
type canary struct{ id, key string }

// Where the canary lies. The profile is none that a program uses by itself.
const (
	canaryFile  = ".aws/credentials"
	canaryID    = "BACKUP_AWS_ACCESS_KEY_ID"
	canaryValue = "BACKUP_AWS_SECRET_ACCESS_KEY"
)

func newCanary() canary {
	return canary{
		id:  "AKIA" + letters(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
		key: letters(40, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
	}
}

// letters draws n letters at random from an alphabet of at most 256.
func letters(n int, alphabet string) string {
	out := make([]byte, 0, n)
	most := 256 / len(alphabet) * len(alphabet) // above it the first letters would come more often
	for len(out) < n {
		var raw [64]byte
		_, _ = rand.Read(raw[:]) // never fails
		for _, c := range raw {
			if int(c) < most && len(out) < n {
				out = append(out, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(out)
}

// env are the variables the canary lies in.
func (c canary) env() map[string]string {
	if c == (canary{}) {
		return nil
	}
	return map[string]string{canaryID: c.id, canaryValue: c.key}
}

// files are the files it lies in.
func (c canary) files() []provider.File {
	if c == (canary{}) {
		return nil
	}
	return []provider.File{{Path: canaryFile, Mode: 0o600, Data: fmt.Appendf(nil,
		"[backup]\naws_access_key_id = %s\naws_secret_access_key = %s\n", c.id, c.key)}}
}

// values are what the scanner looks for, by the names it may tell.
func (c canary) values() map[string]secret.Value {
	if c == (canary{}) {
		return nil
	}
	return map[string]secret.Value{canaryID: secret.New(c.id), canaryValue: secret.New(c.key)}
}
