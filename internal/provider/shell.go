package provider

import (
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// shell runs any command of the bottle's own system: a login shell when none is named.
type shell struct{}

func (shell) Name() string                                   { return "shell" }
func (shell) Credentials() []Credential                      { return nil }
func (shell) Placeholder(_ Credential, random string) string { return "placeholder-" + random }
func (shell) Routes(*policy.Auth) []policy.Route             { return nil }
func (shell) Source() Source                                 { return Source{} }
func (shell) SkillsDir() string                              { return "" }

// systemPromptFile is where a program without a notion of system prompts finds it.
const systemPromptFile = ".config/claude-bottle/system-prompt.md"

func (shell) Files(s Setup) []File {
	if s.SystemPrompt == "" {
		return nil
	}
	return []File{{systemPromptFile, 0o600, []byte(s.SystemPrompt)}}
}

func (shell) Env(s Setup) []string {
	var env []string
	if s.SystemPrompt != "" {
		env = append(env, "CLAUDE_BOTTLE_SYSTEM_PROMPT_FILE="+inHome(systemPromptFile))
	}
	return withPlaceholders(env, s)
}

// Argv is the command with the prompt as its last argument. Without a command the prompt is what
// a login shell runs, and without a prompt either the login shell is interactive.
func (shell) Argv(s Setup) []string {
	if len(s.Command) > 0 {
		argv := slices.Concat(s.Command, s.Args)
		if s.Prompt != "" {
			argv = append(argv, s.Prompt)
		}
		return argv
	}
	program := s.Program
	if program == "" {
		program = "bash"
	}
	if s.Prompt == "" {
		return append([]string{program, "-l"}, s.Args...)
	}
	// What follows the command text is $0, $1, ...: $0 must be given for Args to be "$@".
	argv := []string{program, "-lc", s.Prompt}
	if len(s.Args) > 0 {
		argv = append(append(argv, program), s.Args...)
	}
	return argv
}
