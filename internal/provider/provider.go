// Package provider knows what is particular to each agent program: which credentials it takes,
// what it must be able to reach, and which files, variables and arguments make it start sealed,
// all permissions granted, without a single first-run question. It is pure: it states facts and
// renders text. Finding or installing a program is package install's work.
//
//	t, err := provider.Get("claude")
//	s := provider.Setup{Program: p.Path, Prompt: "fix the test", Headless: true, Workdir: "/workspace"}
//	files, env, argv := t.Files(s), t.Env(s), t.Argv(s)
package provider

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// Template is one agent program. Its methods are pure and safe for concurrent use.
type Template interface {
	// Name is the word a manifest uses: "claude".
	Name() string
	// Credentials lists what the program can authenticate with, the preferred one first; nil when
	// it needs none.
	Credentials() []Credential
	// Placeholder returns a worthless value for c, in a shape the program accepts. Random makes it
	// this bottle's own: at least 16 letters and digits, unguessable by other bottles.
	Placeholder(c Credential, random string) string
	// Routes lists what the program must reach to do its work, auxiliary traffic switched off.
	// Auth goes to every route that takes a credential; nil leaves them without one.
	Routes(auth *policy.Auth) []policy.Route
	// Source tells which program to look for on the host, or else to install; the zero Source
	// when the bottle's own system has it.
	Source() Source
	// SkillsDir is where the program looks for skills, one folder each, relative to the agent's
	// home; empty when it has no notion of skills.
	SkillsDir() string
	// Files lists what is to be in the agent's home before the program's first start.
	Files(s Setup) []File
	// Env lists the "NAME=value" variables the program needs besides the bottle's own (PATH, HOME,
	// TERM, proxy and trust variables), sorted, the placeholders among them.
	Env(s Setup) []string
	// Argv is the command to run, Setup.Program first. It never holds a credential, a placeholder
	// or the system prompt.
	Argv(s Setup) []string
}

// Credential is one way of authenticating.
type Credential struct {
	// Env is the variable that holds it, on the host with the real value and in the bottle with
	// the placeholder.
	Env string `json:"env"`
	// Scheme is how it is written into a request, as in policy.Auth.
	Scheme string `json:"scheme"`
	// Login is the name it has in the vault once stored by "claude-bottle login".
	Login string `json:"login"`
}

// Setup is what one launch wants of a program.
type Setup struct {
	// Program is the program's absolute path in the bottle.
	Program string
	// SystemPrompt is the agent's standing instruction; empty for none.
	SystemPrompt string
	// Prompt is the first instruction; Headless needs one.
	Prompt string
	// Headless runs Prompt to its end without a terminal.
	Headless bool
	// Args are the operator's own arguments, placed so that the program takes them as options.
	Args []string
	// Command is what the shell provider runs; the others ignore it.
	Command []string
	// Skills are the names of the skills provisioned under SkillsDir, where the programs known today
	// find them without being told.
	Skills []string
	// Label names the session and Color tints it, where the program can.
	Label string
	Color string
	// Placeholders are the worthless credentials of this bottle by variable name.
	Placeholders map[string]string
	// Workdir is the absolute folder in the bottle the program starts in.
	Workdir string
}

// File is one file for the agent's home. It is to belong to the agent, folders above it made with
// mode 0700.
type File struct {
	// Path is relative to the home and slash-separated.
	Path string
	Mode fs.FileMode
	Data []byte
}

// Names lists the templates in the order they are shown.
func Names() []string { return []string{"claude", "codex", "shell"} }

// Get returns the template of that name; the error for an unknown one lists the names.
func Get(template string) (Template, error) {
	switch template {
	case "claude":
		return claude{}, nil
	case "codex":
		return codex{}, nil
	case "shell":
		return shell{}, nil
	}
	return nil, fmt.Errorf("unknown provider %q: use one of %s", template, strings.Join(Names(), ", "))
}
