package launch

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// Inputs are what the operator's yes resolved: values that are in no plan, on no disk, in no
// argument list. They reach the warden through a pipe and live in its memory.
type Inputs struct {
	// Secrets are the credentials, by plan.Secret.Name.
	Secrets map[string]secret.Value
	// Env are the values of the plan's EnvHost and EnvPrompt variables, by variable name.
	Env map[string]string
}

// maxBoot bounds the boot message, in bytes: plans are some KB, skills and workspaces are not in
// it.
const maxBoot = 8 << 20

// boot is the message on the pipe named "boot".
type boot struct {
	Plan      plan.Plan         `json:"plan"`
	Secrets   map[string]string `json:"secrets"` // revealed: this pipe is their only way to the warden
	Env       map[string]string `json:"env"`
	StateRoot string            `json:"state_root"`
	CacheRoot string            `json:"cache_root"`
	// Path is the operator's PATH, where programs are looked for.
	Path string `json:"path"`
	Term Term   `json:"term"`
	// Unattended is Options.Unattended.
	Unattended bool `json:"unattended,omitempty"`
	// Executable is our own binary, started again as cork.
	Executable string `json:"executable"`
}

func (in Inputs) revealed() map[string]string {
	m := make(map[string]string, len(in.Secrets))
	for name, v := range in.Secrets {
		m[name] = v.Reveal()
	}
	return m
}

func (b boot) inputs() Inputs {
	in := Inputs{Secrets: make(map[string]secret.Value, len(b.Secrets)), Env: b.Env}
	for name, v := range b.Secrets {
		in.Secrets[name] = secret.New(v)
	}
	return in
}

func readBoot(r io.Reader) (boot, error) {
	var b boot
	if err := json.NewDecoder(io.LimitReader(r, maxBoot)).Decode(&b); err != nil {
		return b, fmt.Errorf("read the boot message: %w", err)
	}
	return b, nil
}
