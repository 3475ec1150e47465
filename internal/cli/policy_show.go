package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

func (a *app) policyShowCommand() *cobra.Command {
	var agent, asJSON bool
	cmd := &cobra.Command{
		Use:               "show <bottle>",
		Short:             "Show a bottle's rules, capability by capability",
		Long:              "Show every rule of a bottle in full, grouped by the capability it belongs to, with its\nplace in the manifest.",
		Example:           "  claude-bottle policy show work\n  claude-bottle policy show --agent coder --json",
		Args:              argsBetween(1, 1, "one bottle"),
		ValidArgsFunction: a.completeRules(1),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := a.manifests()
			if err != nil {
				return err
			}
			rules, err := a.rules(m, args[0], agent)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.sys.Stdout, slices.Concat([]policy.Route{}, rules.Routes))
			}
			printRules(a.sys, rules.Routes)
			return nil
		},
	}
	cmd.Flags().BoolVar(&agent, "agent", false, "the name is an agent's")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printRules(sys *System, routes []policy.Route) {
	st, w := sys.styleFor(sys.Stdout), sys.Stdout
	for i, r := range routes {
		if title := ruleTitle(r); i == 0 || title != ruleTitle(routes[i-1]) {
			putln(w, st.bold(title))
		}
		at := r.At
		if at == "" {
			at = "the agent program's own"
		}
		putln(w, "  "+routeHost(r)+"  "+st.dim(safe(at)))
		for _, line := range routeLines(st, r, nil) {
			putln(w, "    "+line)
		}
	}
	putln(w, st.dim("everything else is refused"))
}

// ruleTitle is what the rule belongs to.
func ruleTitle(r policy.Route) string {
	if r.Capability != "" {
		return safe(r.Capability)
	}
	return "rules written out"
}
