package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

func (a *app) policyExplainCommand() *cobra.Command {
	var agent, asJSON bool
	cmd := &cobra.Command{
		Use:   "explain <bottle> <METHOD> <URL>",
		Short: "Say which rule decides about a request, and why",
		Long: `Say which rule of a bottle decides about a request, why, and where it stands; of a
denied one also what would allow it: a capability where one does, and the rule that
allows this request and no other.

In the place of the method, query, mutation and subscription stand for a POST of such
GraphQL operations. CONNECT takes host:port and asks about a connection alone.

It exits with 0 when the request is allowed and with 4 when it is denied. What a request
carries is not looked at: an allowed one may still be stopped for a secret in it.`,
		Example: `  claude-bottle policy explain work GET https://registry.npmjs.org/left-pad
  claude-bottle policy explain work mutation https://api.github.com/graphql
  claude-bottle policy explain work CONNECT db.example.org:5432
  claude-bottle policy explain --agent coder POST https://api.github.com/gists --json`,
		Args:              argsBetween(3, 3, "a bottle, a method and an address"),
		ValidArgsFunction: a.completeRules(1),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := a.manifests()
			if err != nil {
				return err
			}
			q, err := ask(args[1], args[2])
			if err != nil {
				return err
			}
			rules, err := a.rules(m, args[0], agent)
			if err != nil {
				return err
			}
			return a.explain(rules, q, asJSON)
		},
	}
	cmd.Flags().BoolVar(&agent, "agent", false, "the name is an agent's")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// explanation is what explain prints.
type explanation struct {
	Bottle string `json:"bottle"`
	question
	Action      string `json:"action"`
	Rule        string `json:"rule,omitempty"`
	At          string `json:"at,omitempty"` // file:line:col
	Capability  string `json:"capability,omitempty"`
	Why         string `json:"why"`
	Credential  string `json:"credential,omitempty"` // the host variable's or login's name
	Upstream    string `json:"upstream,omitempty"`
	Uninspected bool   `json:"uninspected,omitempty"`
	// Allow and Narrowest are manifest text that would allow a denied request: a capability, and
	// the rule that allows nothing else.
	Allow     string `json:"allow,omitempty"`
	Narrowest string `json:"narrowest,omitempty"`
}

func explained(rules bottleRules, q question) explanation {
	v, route := q.judge(rules.policy)
	x := explanation{Bottle: rules.name, question: q, Action: v.Action.String(), Rule: v.Rule, At: rules.at(v.Rule), Why: v.Why}
	if route != nil {
		x.Capability, x.Uninspected = route.Capability, route.Uninspected()
		if route.Auth != nil {
			x.Credential = route.Auth.Ref
		}
		if route.Upstream != nil {
			x.Upstream = route.Upstream.URL
		}
		return x
	}
	x.Narrowest = v.Ask
	if narrowest := policy.Narrowest(q.request); v.Ask != narrowest && !strings.HasPrefix(v.Ask, "#") {
		x.Allow, x.Narrowest = v.Ask, narrowest
	}
	return x
}

func (a *app) explain(rules bottleRules, q question, asJSON bool) error {
	x := explained(rules, q)
	denied := x.Action != policy.Allow.String()
	if asJSON {
		if err := printJSON(a.sys.Stdout, x); err != nil {
			return err
		}
	} else {
		x.print(sheet{w: a.sys.Stdout, st: a.sys.styleFor(a.sys.Stdout), width: pageWidth})
	}
	if denied {
		return agentExit{code: exitRefused}
	}
	return nil
}

func (x explanation) print(s sheet) {
	word := s.st.green("allowed")
	if x.Action != policy.Allow.String() {
		word = s.st.red("denied")
	}
	putln(s.w, word+"  "+safe(x.Method)+" "+safe(x.URL))
	s.row("capability", safe(x.Capability))
	s.words("why", safe(x.Why))
	s.row("rule", safe(x.Rule))
	s.row("stands at", safe(x.At))
	if x.Credential != "" {
		s.words("credential", safe(x.Credential)+", put in outside the bottle; the request must carry its placeholder")
	}
	if x.Upstream != "" {
		s.row("sent to", safe(x.Upstream))
	}
	s.rows("to allow", manifestLines(x.Allow))
	if x.Allow != "" {
		s.rows("or only", manifestLines(x.Narrowest))
	} else {
		s.rows("to allow", manifestLines(x.Narrowest))
	}
}

// manifestLines is manifest text as the rows of a sheet.
func manifestLines(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = inertLine([]byte(line))
	}
	return lines
}
