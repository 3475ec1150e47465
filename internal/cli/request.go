package cli

import "github.com/spf13/cobra"

// request is what start and run are asked for in flags.
type request struct {
	agent    string
	args     []string
	backend  string
	bottles  []string
	copyCwd  bool
	prompt   string
	label    string
	color    string
	headless bool
}

func (a *app) addRequestFlags(cmd *cobra.Command, r *request) {
	f := cmd.Flags()
	f.StringVar(&r.backend, "backend", "", "where the bottle runs (default $CLAUDE_BOTTLE_BACKEND, else what this host has)")
	f.StringArrayVar(&r.bottles, "bottle", nil, "bottle definition to use instead of the agent's own; repeat to merge several in order")
	f.BoolVar(&r.copyCwd, "cwd", false, "give the bottle a copy of the current folder")
	f.StringVar(&r.prompt, "prompt", "", "the first instruction")
	f.StringVar(&r.label, "label", "", "a name of your own for this bottle")
	f.StringVar(&r.color, "color", "", "a colour for the agent's session, where its program has one")
	// Cobra refuses only names that don't exist or a second registration: neither can be.
	_ = cmd.RegisterFlagCompletionFunc("bottle", a.completeBottles)
	_ = cmd.RegisterFlagCompletionFunc("backend", a.completeBackends)
}
