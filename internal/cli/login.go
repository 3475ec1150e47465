package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

type loginOptions struct {
	fromEnv    string
	passphrase bool
	list       bool
	asJSON     bool
}

func (a *app) loginCommand() *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login <provider>",
		Short: "Store a provider's credential on this host",
		Long: `Store a provider's credential, so that no variable need be exported: in the
system's keyring, or in an encrypted file where there is none.

It is asked for on the terminal, hidden; piped in, standard input is read. Wardens
put it into the requests they allow; no bottle ever holds it. A variable of the
provider's in the environment is preferred to what is stored.`,
		Example: `  claude-bottle login claude                        paste a token from "claude setup-token"
  claude-bottle login codex --from-env OPENAI_API_KEY
  pass show anthropic | claude-bottle login claude
  claude-bottle login --list`,
		GroupID:           groupSetup,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeProviders,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.list:
				if err := noArgs(cmd, args); err != nil {
					return err
				}
				return a.listLogins(o.asJSON)
			case o.asJSON:
				return usageError{"--json goes with --list", seeHelp(cmd)}
			}
			if err := argsBetween(1, 1, "one provider")(cmd, args); err != nil {
				return err
			}
			return a.login(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringVar(&o.fromEnv, "from-env", "", "take the credential from this variable of yours")
	cmd.Flags().BoolVar(&o.passphrase, "passphrase", false, "protect the encrypted file with a passphrase, or give the one it has")
	cmd.Flags().BoolVar(&o.list, "list", false, "list what is stored, without values")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "with --list: print JSON")
	return cmd
}

func (a *app) login(ctx context.Context, name string, o loginOptions) error {
	if err := oneOf("provider", name, loginProviders()...); err != nil {
		return err
	}
	t, err := provider.Get(name)
	if err != nil {
		return err
	}
	value, err := a.readCredential(t, o)
	if err != nil {
		return err
	}
	c, err := provider.Recognise(t, value)
	if err != nil {
		return err
	}
	var ask func() (secret.Value, error)
	if o.passphrase {
		ask = a.askPassphrase
	}
	v, err := a.vaultWith(ask)
	if err != nil {
		return err
	}
	if err := v.Store(ctx, c.Login, value); err != nil {
		return err
	}
	putf(a.sys.Stderr, "stored %s for %s\n", c.Login, name)
	if a.sys.getenv(c.Env) != "" {
		putf(a.sys.Stderr, "note: your %s is set, and is preferred to what is stored\n", c.Env)
	}
	return nil
}

// readCredential takes the credential from where the operator gives it: a variable, a pipe, or the
// keyboard.
func (a *app) readCredential(t provider.Template, o loginOptions) (secret.Value, error) {
	switch {
	case o.fromEnv != "":
		v := a.sys.getenv(o.fromEnv)
		if v == "" {
			return secret.Value{}, usageError{fmt.Sprintf("your variable %s is not set", o.fromEnv), "export it, or leave --from-env out to be asked"}
		}
		return secret.New(v), nil
	case !isTerminal(a.sys.Stdin):
		return a.sys.readSecret()
	default:
		return a.sys.askHidden("paste the " + t.Name() + " credential (it stays hidden):")
	}
}

// storedLogin is what "login --list --json" prints of one.
type storedLogin struct {
	Login    string `json:"login"`
	Provider string `json:"provider,omitempty"`
}

func (a *app) listLogins(asJSON bool) error {
	v, err := a.vault()
	if err != nil {
		return err
	}
	names, err := v.Logins()
	if err != nil {
		return err
	}
	stored := []storedLogin{}
	for _, name := range names {
		stored = append(stored, storedLogin{name, providerOf(name)})
	}
	if asJSON {
		return printJSON(a.sys.Stdout, stored)
	}
	if len(stored) == 0 {
		putln(a.sys.Stderr, "no login is stored; store one with: claude-bottle login claude")
		return nil
	}
	t := table{head: []string{"LOGIN", "PROVIDER"}}
	for _, s := range stored {
		t.add(safe(s.Login), s.Provider)
	}
	t.print(a.sys.Stdout, a.sys.styleFor(a.sys.Stdout))
	return nil
}

// providerOf names the provider a stored login serves.
func providerOf(login string) string {
	for _, name := range loginProviders() {
		if t, err := provider.Get(name); err == nil {
			for _, c := range t.Credentials() {
				if c.Login == login {
					return name
				}
			}
		}
	}
	return ""
}
