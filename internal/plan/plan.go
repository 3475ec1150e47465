// Package plan is the pure resolution of what the operator asked for: a Manifest, a Request and
// facts about the host in, a Plan out. It touches no engine, starts no process, opens no
// connection. A Plan is printable, comparable as JSON and holds references only: the names of
// credentials, never their values; the source of a program, never the program.
package plan

import (
	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// Plan is everything launch needs to know, and everything the preflight shows.
type Plan struct {
	V       int         `json:"v"` // format version, 1
	ID      bottle.ID   `json:"id"`
	Agent   bottle.Name `json:"agent"`
	Bottles []string    `json:"bottles"` // effective bottles, in merge order
	Backend string      `json:"backend"`
	// System is what the bottle's own system is made from; nil where the backend shows the host's.
	System *backend.System `json:"system,omitempty"`
	Label  string          `json:"label,omitempty"`
	Color  string          `json:"color,omitempty"`

	Provider Provider `json:"provider"`
	// SystemPrompt is the agent file's body; empty when it has none.
	SystemPrompt string `json:"system_prompt,omitempty"`
	// Prompt is the first instruction; obligatory when Headless, but for the shell provider.
	Prompt   string `json:"prompt,omitempty"`
	Headless bool   `json:"headless,omitempty"`
	// Args are appended to the agent program's own arguments (what followed "--").
	Args []string `json:"args,omitempty"`

	Skills    []Skill        `json:"skills,omitempty"`
	Env       []Env          `json:"env,omitempty"`
	Secrets   []Secret       `json:"secrets,omitempty"`
	Routes    []policy.Route `json:"routes,omitempty"`
	DLP       DLP            `json:"dlp"`
	Git       GitUser        `json:"git"`
	Workspace Workspace      `json:"workspace"`
	Limits    backend.Limits `json:"limits"`
	// Notes are what the operator should read before saying yes.
	Notes []Note `json:"notes,omitempty"`
}

// Provider names the agent program.
type Provider struct {
	Template string   `json:"template"`          // "claude", "codex", "shell"
	Command  []string `json:"command,omitempty"` // shell only: what to run instead of a login shell
	// Auth is the name of the Secret the provider's own route injects; empty when there is none.
	Auth string `json:"auth,omitempty"`
}

// Skill is a folder of the host copied into the agent's skills.
type Skill struct {
	Name   string `json:"name"`
	Source string `json:"source"` // absolute folder on the host
}

// EnvSource says where a variable's value comes from.
type EnvSource string

// The sources.
const (
	EnvLiteral EnvSource = "literal" // written in the manifest
	EnvHost    EnvSource = "host"    // copied from a variable of the host
	EnvPrompt  EnvSource = "prompt"  // asked on the terminal at launch
)

// Env is one variable of the agent's environment. Values of EnvHost and EnvPrompt are resolved
// after the operator's yes and live in the warden's memory and in the bottle alone.
type Env struct {
	Name   string    `json:"name"`
	Source EnvSource `json:"source"`
	Value  string    `json:"value,omitempty"` // EnvLiteral: the value; EnvHost: the host's variable; EnvPrompt: the question
	At     string    `json:"at,omitempty"`    // file:line:col
}

// Secret is a credential the warden is to hold for this bottle.
type Secret struct {
	// Name is what routes refer to: the host variable's name, or "login:claude".
	Name string `json:"name"`
	// Env is the host variable it is read from; empty when only the vault is asked.
	Env string `json:"env,omitempty"`
	// Login is the stored credential that serves when Env is unset, by its name in the vault:
	// "claude", "claude-api-key".
	Login string `json:"login,omitempty"`
	// As is the variable the bottle holds Placeholder in: the provider's own for the provider's
	// credential, else the same as Env.
	As string `json:"as,omitempty"`
	// Placeholder is the worthless value the bottle shows; the routes that inject this secret
	// carry it too. Empty, as As is, for a secret that is only looked for.
	Placeholder string `json:"placeholder,omitempty"`
	At          string `json:"at,omitempty"` // file:line:col
}

// DLP is what the warden looks for in all of the bottle's traffic; what differs from route to route
// stands in policy.Scan.
type DLP struct {
	// Secrets name those of Plan.Secrets that the operator listed, whether or not a route injects them.
	Secrets []string `json:"secrets,omitempty"`
	// Rules is the text of the operator's own credential shapes, in gitleaks' TOML; empty for none.
	Rules string `json:"rules,omitempty"`
	// Canary plants a worthless credential that stops whatever carries it out.
	Canary bool `json:"canary"`
}

// GitUser is the identity git in the bottle claims, each field with its provenance.
type GitUser struct {
	Name      string `json:"name,omitempty"`
	NameFrom  string `json:"name_from,omitempty"` // "agent", "bottle"
	Email     string `json:"email,omitempty"`
	EmailFrom string `json:"email_from,omitempty"`
}

// Workspace says what the agent finds in its working folder.
type Workspace struct {
	// CopyOf is the host folder whose copy the bottle works on; empty for an empty folder.
	CopyOf string `json:"copy_of,omitempty"`
}

// Note is a remark for the preflight.
type Note struct {
	Level NoteLevel `json:"level"`
	Text  string    `json:"text"`
	Fix   string    `json:"fix,omitempty"` // what to type
}

// NoteLevel orders notes.
type NoteLevel string

// The levels. A Stop note is a reason the launch would fail: the preflight shows it and launch
// is not offered.
const (
	Info NoteLevel = "info"
	Warn NoteLevel = "warn"
	Stop NoteLevel = "stop"
)
