package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// maxCases bounds a file of expected verdicts, in bytes.
const maxCases = 1 << 20

func (a *app) policyTestCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test <file>",
		Short: "Hold a bottle's rules to expected verdicts",
		Long: `Read expected verdicts from a file and say which don't hold, as file:line. A line names
a bottle or an agent for what follows it, or a request and what is to become of it; after
"by", the capability or the rule that has to decide:

  bottle work
  allow GET https://registry.npmjs.org/left-pad by npm: read
  deny POST https://api.github.com/gists
  allow query https://api.github.com/graphql
  deny CONNECT db.example.org:5432   # a comment

It exits with 1 when one doesn't hold.`,
		Example: "  claude-bottle policy test work.cases\n  claude-bottle policy test work.cases --json | jq '.[] | select(.ok | not)'",
		Args:    argsBetween(1, 1, "one file"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.policyTest(args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verdictCase is one expected verdict and what came of it.
type verdictCase struct {
	Line int    `json:"line"`
	Want string `json:"want"`
	By   string `json:"by,omitempty"` // the capability or rule that has to decide
	OK   bool   `json:"ok"`
	explanation
}

func (a *app) policyTest(file string, asJSON bool) error {
	text, err := readBounded(file, maxCases)
	if err != nil {
		return err
	}
	m, err := a.manifests()
	if err != nil {
		return err
	}
	cases, err := a.judgeCases(m, file, text)
	if err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(a.sys.Stdout, cases); err != nil {
			return err
		}
	}
	failed := 0
	for _, c := range cases {
		if c.OK {
			continue
		}
		failed++
		if !asJSON {
			c.print(a.sys.Stdout, a.sys.styleFor(a.sys.Stdout), file)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s not what was expected", failed, count(len(cases), "verdict is", "verdicts are"))
	}
	putf(a.sys.Stderr, "%s as expected\n", count(len(cases), "verdict is", "verdicts are"))
	return nil
}

func (c verdictCase) print(w io.Writer, st style, file string) {
	got := c.Action
	if c.Action == c.Want {
		got += ", but not by " + c.By
	}
	putf(w, "%s:%d: %s %s %s: %s: %s\n", safe(file), c.Line, safe(c.Want), safe(c.Method), safe(c.URL), st.red(safe(got)), safe(c.Why))
	if c.At != "" {
		putf(w, "    the rule stands at %s\n", safe(c.At))
	}
}

// judgeCases reads the lines of a file and judges each. The error tells every line that can't be read.
func (a *app) judgeCases(m *manifest.Manifest, file string, text []byte) ([]verdictCase, error) {
	cases := []verdictCase{}
	var (
		errs   []error
		rules  bottleRules
		n      int
		usable bool // the last bottle named could be read
	)
	// A mistake in the file is no mistake in the arguments: the words are taken, not the exit code.
	bad := func(err error) {
		errs = append(errs, hinted{fmt.Errorf("%s:%d: %s", file, n, err), strings.Join(hints(err), "\n")})
	}
	for raw := range bytes.Lines(text) {
		n++
		line, _, _ := strings.Cut(string(raw), " #")
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch words[0] {
		case "bottle", "agent":
			usable = false
			if len(words) != 2 {
				bad(errors.New("a line that begins with " + words[0] + " has one name after it"))
				continue
			}
			var err error
			if rules, err = a.rules(m, words[1], words[0] == "agent"); err != nil {
				bad(err)
				continue
			}
			usable = true
		case policy.Allow.String(), policy.Deny.String():
			if !usable {
				if rules.policy == nil && len(errs) == 0 {
					bad(errors.New(`the first line names whose rules these are: "bottle work"`))
				}
				continue
			}
			c, err := judgeCase(rules, words)
			if err != nil {
				bad(err)
				continue
			}
			c.Line = n
			cases = append(cases, c)
		default:
			bad(oneOf("word", words[0], "allow", "deny", "bottle", "agent"))
		}
	}
	return cases, errors.Join(errs...)
}

// judgeCase judges "allow METHOD URL" or "deny METHOD URL", with "by" and what is to decide after it.
func judgeCase(rules bottleRules, words []string) (verdictCase, error) {
	c := verdictCase{Want: words[0]}
	if len(words) > 3 && words[3] == "by" {
		c.By = strings.Join(words[4:], " ")
		words = words[:3]
	}
	if len(words) != 3 {
		return c, errors.New(`a verdict is "allow METHOD URL" or "deny METHOD URL", and may end in "by" and a capability or rule`)
	}
	q, err := ask(words[1], words[2])
	if err != nil {
		return c, err
	}
	c.explanation = explained(rules, q)
	c.OK = c.Action == c.Want && (c.By == "" || c.By == c.Capability || c.By == c.Rule)
	return c, nil
}

// readBounded reads a file of at most most bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, most>>10)
	}
	return text, nil
}
