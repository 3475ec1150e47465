package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/provider"
)

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "logout <provider>",
		Short:             "Forget a provider's stored credentials",
		Example:           "  claude-bottle logout claude",
		GroupID:           groupSetup,
		Args:              argsBetween(1, 1, "one provider"),
		ValidArgsFunction: a.completeProviders,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.logout(cmd.Context(), args[0])
		},
	}
}

func (a *app) logout(ctx context.Context, name string) error {
	if err := oneOf("provider", name, loginProviders()...); err != nil {
		return err
	}
	t, err := provider.Get(name)
	if err != nil {
		return err
	}
	v, err := a.vault()
	if err != nil {
		return err
	}
	stored, err := v.Logins()
	if err != nil {
		return err
	}
	forgotten := 0
	for _, c := range t.Credentials() {
		if !slices.Contains(stored, c.Login) {
			continue
		}
		if err := v.Delete(ctx, c.Login); err != nil {
			return err
		}
		forgotten++
	}
	if forgotten == 0 {
		return notFoundError{"nothing is stored for " + name, "claude-bottle login --list shows what is"}
	}
	putf(a.sys.Stderr, "forgot %s of %s; running bottles keep theirs until they end\n", count(forgotten, "credential", "credentials"), name)
	return nil
}
