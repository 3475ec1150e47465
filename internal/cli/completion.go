package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/provider"
)

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a completion script for a shell",
		Long: `Print a script that completes commands, flags, agents, bottle definitions and the
IDs of running bottles.`,
		Example: `  source <(claude-bottle completion bash)
  claude-bottle completion zsh > "${fpath[1]}/_claude-bottle"
  claude-bottle completion fish > ~/.config/fish/completions/claude-bottle.fish`,
		GroupID:   groupSetup,
		Args:      argsBetween(1, 1, "one shell"),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("shell", args[0], cmd.ValidArgs...); err != nil {
				return err
			}
			root, out := cmd.Root(), a.sys.Stdout
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(out)
			}
		},
	}
}

// completer is cobra's type for dynamic completion. Completion is silent about errors: the words
// it could not find are simply not offered, and the command itself will say why.
type completer = func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeAgents offers agents for the first argument.
func (a *app) completeAgents(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	m, err := a.manifests()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []cobra.Completion
	for _, s := range m.Summaries() {
		out = append(out, cobra.CompletionWithDesc(s.Name.String(), safe(s.Description)))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeBottles offers bottle definitions.
func (a *app) completeBottles(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	m, err := a.manifests()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return m.Bottles(), cobra.ShellCompDirectiveNoFileComp
}

// completeIDs offers the IDs of bottles, at most most of them; ended ones only when ended is set.
func (a *app) completeIDs(most int, ended bool) completer {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		store, err := a.store()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		entries, err := store.List(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for _, e := range entries {
			if (ended || !e.State.Ended()) && strings.HasPrefix(e.ID.String(), toComplete) {
				out = append(out, cobra.CompletionWithDesc(e.ID.String(), joinNonEmpty(" ", e.State.String(), safe(e.Label))))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeProviders offers the providers that take a credential.
func (a *app) completeProviders(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return loginProviders(), cobra.ShellCompDirectiveNoFileComp
}

// loginProviders lists the providers that take a credential.
func loginProviders() []string {
	var out []string
	for _, name := range provider.Names() {
		if t, err := provider.Get(name); err == nil && len(t.Credentials()) > 0 {
			out = append(out, name)
		}
	}
	return out
}
