package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// inHome is the absolute path in the bottle of a path relative to the agent's home.
func inHome(path string) string { return backend.Home + "/" + path }

// withPlaceholders adds the bottle's placeholders to env and sorts it.
func withPlaceholders(env []string, s Setup) []string {
	for name, value := range s.Placeholders {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

// jsonText renders v indented, with a final newline.
func jsonText(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		// Only our own literals and strings come here; neither can fail to encode.
		panic(fmt.Sprintf("provider: encode configuration: %v", err))
	}
	return b.Bytes()
}

// tomlString renders s as a TOML basic string. JSON's escapes are TOML's, but TOML wants DEL
// escaped too.
func tomlString(s string) string {
	quoted := strings.TrimSuffix(string(jsonText(s)), "\n")
	return strings.ReplaceAll(quoted, "\x7f", `\u007f`)
}

// mustHost parses a host name written in this package.
func mustHost(name string) policy.Host {
	h, err := policy.ParseHost(name)
	if err != nil {
		panic(fmt.Sprintf("provider: host %q: %v", name, err))
	}
	return h
}
