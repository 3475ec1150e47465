package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
)

const (
	groupBottles = "bottles"
	groupSetup   = "setup"
)

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "claude-bottle",
		Short: "Run coding agents sealed in bottles",
		Long: `claude-bottle runs coding agents with all permissions granted, each sealed in a
bottle: an environment of its own with no network device. A host process, the
warden, decides every request the agent makes and holds the credentials; the
agent never sees one.

` + exitCodesHelp + `

Environment:
  CLAUDE_BOTTLE_HOME     where agents, bottles and state live (default ~/.claude-bottle)
  CLAUDE_BOTTLE_BACKEND  the backend when --backend is not given
  CLAUDE_BOTTLE_KEYRING  "off" keeps logins in an encrypted file, not in the keyring
  NO_COLOR               no colours`,
		Example: `  claude-bottle                                 every bottle on one screen
  claude-bottle demo                            see it work, offline, in a minute
  claude-bottle start researcher                start an agent and attach to it
  claude-bottle run researcher --prompt "..."   run it to its end, without a terminal
  claude-bottle list                            what is running
  claude-bottle doctor                          is this host ready?`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && isTerminal(a.sys.Stdin) && isTerminal(a.sys.Stdout):
				return a.dashboard(cmd.Context(), dashboardOptions{})
			case len(args) == 0:
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.PersistentFlags().StringVar(&a.homeFlag, "home", "", "folder of agents, bottles and state (default $CLAUDE_BOTTLE_HOME or ~/.claude-bottle)")
	root.AddGroup(&cobra.Group{ID: groupBottles, Title: "Bottles:"}, &cobra.Group{ID: groupSetup, Title: "This host:"})
	root.SetHelpCommandGroupID(groupSetup)
	root.SetCompletionCommandGroupID(groupSetup)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		a.dashboardCommand(), a.startCommand(), a.runCommand(), a.demoCommand(), a.listCommand(), a.usageCommand(), a.attachCommand(), a.stopCommand(), a.logsCommand(),
		a.cleanupCommand(), a.loginCommand(), a.logoutCommand(), a.doctorCommand(), a.policyCommand(), a.schemaCommand(), a.versionCommand(), a.completionCommand(),
	)
	return root
}

func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := "claude-bottle --help lists the commands"
	if near := manifest.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q? %s", near, hint)
	}
	return usageError{fmt.Sprintf("unknown command %q", name), hint}
}

// flagError turns what the flag parser refused into a usage error with the nearest flag there is.
func flagError(cmd *cobra.Command, err error) error {
	hint := seeHelp(cmd)
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near := manifest.Nearest(missing.GetSpecifiedName(), names); near != "" {
			hint = fmt.Sprintf("did you mean --%s? %s", near, hint)
		}
	}
	return usageError{err.Error(), hint}
}

func seeHelp(cmd *cobra.Command) string { return cmd.CommandPath() + " --help shows how it is used" }

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Sprintf("%s takes no argument, and got %q", cmd.CommandPath(), args[0]), seeHelp(cmd)}
	}
	return nil
}

// argsBetween accepts least to most arguments (most < 0: any number), called what in the error.
func argsBetween(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case slices.Contains(args, ""):
			// An unset variable of a script's must not mean "the only one there is".
			return usageError{cmd.CommandPath() + " was given an empty argument where " + what + " belongs", seeHelp(cmd)}
		case len(args) < least:
			return usageError{fmt.Sprintf("%s needs %s", cmd.CommandPath(), what), seeHelp(cmd)}
		case most >= 0 && len(args) > most:
			return usageError{fmt.Sprintf("%s takes %s alone, and got %q too", cmd.CommandPath(), what, args[most]), seeHelp(cmd)}
		}
		return nil
	}
}

// oneOf checks a value that must be one of a few words.
func oneOf(what, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	hint := "use one of: " + strings.Join(words, ", ")
	if near := manifest.Nearest(value, words); near != "" {
		hint = fmt.Sprintf("did you mean %q? %s", near, hint)
	}
	return usageError{fmt.Sprintf("unknown %s %q", what, value), hint}
}
