package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"done":             {nil, 0},
		"an error":         {errors.New("disk full"), 1},
		"usage":            {usageError{"no", ""}, 2},
		"no such agent":    {&manifest.NotFoundError{Kind: manifest.KindAgent, Name: "x"}, 3},
		"no such bottle":   {fmt.Errorf("get: %w", state.ErrNotFound), 3},
		"ambiguous":        {fmt.Errorf("get: %w", state.ErrAmbiguous), 3},
		"refused":          {refusedError{"a leak", ""}, 4},
		"the agent's":      {agentExit{code: 42}, 42},
		"with a hint":      {withHint(usageError{"no", ""}, "do"), 2},
		"the agent's wins": {errors.Join(agentExit{code: 7}, errors.New("slow warden")), 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := exitCode(tc.err); got != tc.want {
				t.Errorf("exit code %d, want %d", got, tc.want)
			}
		})
	}
}

func TestErrorsArePrinted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"the agent had the words": {agentExit{code: 3}, ""},
		"plain":                   {errors.New("disk full"), "error: disk full\n"},
		"joined": {
			errors.Join(errors.New("one"), withHint(errors.New("two"), "mend %s", "it")),
			"error: one\nerror: two\nhint:  mend it\n",
		},
		"a list in the text":   {usageError{"which?\n  a\n  b", "say"}, "error: which?\n  a\n  b\nhint:  say\n"},
		"two lines of hint":    {withHint(errors.New("x"), "a\nb"), "error: x\nhint:  a\n       b\n"},
		"each hint once":       {errors.Join(withHint(errors.New("x"), "do"), withHint(errors.New("y"), "do")), "error: x\nerror: y\nhint:  do\n"},
		"hints under wrapping": {fmt.Errorf("outer: %w", withHint(errors.New("x"), "do")), "error: outer: x\nhint:  do\n"},
		"hostile":              {errors.New("\x1b[31mred"), "error: \\x1b[31mred\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			printError(&b, tc.err)
			if d := cmp.Diff(tc.want, b.String()); d != "" {
				t.Error(d)
			}
		})
	}
}
