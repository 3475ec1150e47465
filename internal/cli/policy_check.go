package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

func (a *app) policyCheckCommand() *cobra.Command {
	var strict, asJSON bool
	cmd := &cobra.Command{
		Use:   "check [bottle...]",
		Short: "Look for rules that don't mean what they say",
		Long: `Look through the rules of the bottles named, or of all. Mistakes are rules that never
decide: shadowed by earlier ones, unreachable for any request, or overruled by the
agent program's own. Remarks are what is worth knowing: over-broad rules, names of a
wildcard that a narrower rule takes, and connections nobody looks into.

It exits with 1 when there is a mistake, with --strict also when there is a remark.`,
		Example:           "  claude-bottle policy check\n  claude-bottle policy check work --strict\n  claude-bottle policy check --json | jq '.[] | select(.problem == \"uninspected\")'",
		ValidArgsFunction: a.completeRules(0),
		Args:              argsBetween(0, -1, "bottles"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.policyCheck(args, strict, asJSON)
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "remarks count as mistakes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) policyCheck(names []string, strict, asJSON bool) error {
	m, err := a.manifests()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = m.Bottles()
	}
	found := []policy.Finding{}
	var errs []error
	checked := 0
	for _, name := range names {
		r, err := a.rules(m, name, false)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		checked++
		for _, f := range append(policy.Check(r.Routes), r.Moot...) {
			// A rule of a parent is there once in each of its children.
			if !slices.Contains(found, f) {
				found = append(found, f)
			}
		}
	}
	wrong := 0
	for _, f := range found {
		if f.Problem.Wrong() || strict {
			wrong++
		}
	}
	if asJSON {
		if err := printJSON(a.sys.Stdout, found); err != nil {
			return err
		}
	} else {
		printFindings(a.sys.Stdout, a.sys.styleFor(a.sys.Stdout), found)
		putf(a.sys.Stderr, "%s: %s, %s\n", count(checked, "bottle", "bottles"), count(wrong, "mistake", "mistakes"), count(len(found)-wrong, "remark", "remarks"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%s looked into above", count(wrong, "rule needs to be", "rules need to be"))
	}
	return nil
}

func printFindings(w io.Writer, st style, found []policy.Finding) {
	for _, f := range found {
		paint := st.yellow
		if f.Problem.Wrong() {
			paint = st.red
		}
		at := f.At
		if at == "" {
			at = f.Rule
		}
		putf(w, "%s: %s: %s\n", safe(at), paint(string(f.Problem)), safe(f.Why))
	}
}
