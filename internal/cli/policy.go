package cli

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/preset"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Ask what a bottle may reach, and why",
		Long: `Ask what a bottle may reach, which rule says so, and whether the rules mean what
their author thinks. Manifests are read and nothing else: no bottle is needed and
no connection is made.

A bottle is given by its definition's name, an agent by its own; several bottles laid
over one another are written base+work.`,
		Example: `  claude-bottle policy show work
  claude-bottle policy explain work POST https://api.github.com/gists
  claude-bottle policy check --strict
  claude-bottle policy test work.cases`,
		GroupID: groupSetup,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	cmd.AddCommand(a.policyShowCommand(), a.policyExplainCommand(), a.policyCheckCommand(), a.policyTestCommand())
	return cmd
}

// bottleRules is what a bottle, or an agent in its own, may reach.
type bottleRules struct {
	plan.Rules
	name   string
	policy *policy.Policy
}

// rules resolves the rules of a bottle; of an agent where no bottle has the name, or with agent set.
func (a *app) rules(m *manifest.Manifest, name string, agent bool) (bottleRules, error) {
	e, err := effective(m, name, agent)
	if err != nil {
		return bottleRules{}, err
	}
	home, err := a.sys.HomeDir()
	if err != nil {
		home = "" // as in host
	}
	r, err := plan.RulesOf(e, plan.Host{LookupEnv: a.sys.LookupEnv, Home: home, ReadFile: os.ReadFile, Random: rand.Reader})
	if err != nil {
		return bottleRules{}, err
	}
	p, err := policy.Compile(r.Routes, preset.Suggest)
	if err != nil {
		return bottleRules{}, fmt.Errorf("egress rules: %w", err)
	}
	return bottleRules{r, name, p}, nil
}

func effective(m *manifest.Manifest, name string, agent bool) (manifest.Effective, error) {
	bottles := strings.Split(name, "+")
	if agent || !slices.Contains(m.Bottles(), bottles[0]) && slices.Contains(m.Agents(), name) {
		return m.Effective(name, nil)
	}
	return m.EffectiveBottle(bottles...)
}

// at is where the rule of that ID stands; "" for a provider's.
func (b bottleRules) at(id string) string {
	for _, r := range b.Routes {
		if r.ID == id {
			return r.At
		}
	}
	return ""
}

// question is one request to be judged.
type question struct {
	Method string `json:"method"`
	URL    string `json:"url"`

	request policy.Request
	connect bool
}

// graphQL are the words that stand for a POST of such operations.
var graphQL = []string{"query", "mutation", "subscription"}

// ask reads a question: a method and an address, or CONNECT and host:port.
func ask(method, address string) (question, error) {
	q := question{Method: method, URL: address, connect: method == "CONNECT"}
	bad := func(format string, args ...any) (question, error) {
		return q, usageError{fmt.Sprintf(format, args...), "for example: GET https://example.org/path, query https://api.github.com/graphql, or CONNECT db.example.org:5432"}
	}
	if q.connect {
		host, digits, err := net.SplitHostPort(address)
		port, bad2 := strconv.ParseUint(digits, 10, 16)
		if err != nil || bad2 != nil || port == 0 {
			return bad("%q is not a host and a port", safe(address))
		}
		q.request = policy.Request{Host: host, Port: uint16(port), TLS: true}
		return q, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return bad("%q is not an address that begins with https:// or http://", safe(address))
	}
	q.request = policy.Request{Host: u.Hostname(), Port: 443, TLS: u.Scheme == "https", Method: method, Path: u.EscapedPath()}
	if !q.request.TLS {
		q.request.Port = 80
	}
	if digits := u.Port(); digits != "" {
		port, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || port == 0 {
			return bad("%q is not a port", digits)
		}
		q.request.Port = uint16(port)
	}
	if q.request.Path == "" {
		q.request.Path = "/"
	}
	switch {
	case slices.Contains(graphQL, method):
		q.request.Method, q.request.GraphQL = "POST", func() string { return method }
	case method != strings.ToUpper(method):
		return bad("%q is no method: methods are upper case", safe(method))
	}
	return q, nil
}

// judge asks p. The route is nil on Deny.
func (q question) judge(p *policy.Policy) (policy.Verdict, *policy.Route) {
	r := q.request
	if tunnel := p.Tunnel(r.Host, r.Port); tunnel != nil && (q.connect || r.TLS) {
		return p.Connect(r.Host, r.Port, true), tunnel
	}
	if !q.connect {
		return p.Request(r)
	}
	v := p.Connect(r.Host, r.Port, true)
	for i, rt := range p.Routes() {
		if v.Allowed() && rt.ID == v.Rule {
			return v, &p.Routes()[i]
		}
	}
	return v, nil
}

// completeRules offers bottles, then agents.
func (a *app) completeRules(most int) completer {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		m, err := a.manifests()
		if err != nil || most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		out := m.Bottles()
		for _, name := range m.Agents() {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
