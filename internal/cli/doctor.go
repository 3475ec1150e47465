package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/cli/doctor"
	"github.com/claude-bottle/claude-bottle/internal/provider"
)

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that this host can hold bottles",
		Long: `Check what bottles need of this host: kernel features, limits, programs, logins,
manifests, and what crashes may have left behind. It starts no bottle and changes
nothing. It exits with 1 when something a bottle can't do without is missing.`,
		Example: "  claude-bottle doctor\n  claude-bottle doctor --json | jq '.[] | select(.status != \"ok\")'",
		Args:    noArgs,
		GroupID: groupSetup,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.doctor(cmd.Context(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) doctor(ctx context.Context, asJSON bool) error {
	exe, err := a.sys.Executable()
	if err != nil {
		return fmt.Errorf("find our own program: %w", err)
	}
	checks := doctor.Host(ctx, exe, "version")
	checks = append(checks, backendChecks(a.backendFacts(), a.describe(ctx))...)
	checks = append(checks, programChecks()...)
	checks = append(checks, a.loginCheck(), a.stateCheck(), a.manifestCheck(), a.leftoverCheck(ctx))
	if asJSON {
		err = printJSON(a.sys.Stdout, checks)
	} else {
		printChecks(a.sys.Stdout, a.sys.styleFor(a.sys.Stdout), checks)
	}
	if err == nil && doctor.Failed(checks) {
		return errors.New("this host can't hold bottles yet: see what failed above")
	}
	return err
}

// described is what a backend says of what it stands on.
type described struct {
	backend.Description
	err error
}

// describe asks the backends that are ready and can tell.
func (a *app) describe(ctx context.Context) map[string]described {
	out := map[string]described{}
	backends, err := a.backends()
	if err != nil {
		return out // without our own program nothing else works either, and is said
	}
	ready := map[string]bool{}
	for _, f := range a.backendFacts() {
		ready[f.Name] = f.Ready
	}
	for _, b := range backends {
		if d, ok := b.(backend.Describer); ok && ready[b.Name()] {
			var d2 described
			d2.Description, d2.err = d.Describe(ctx)
			out[b.Name()] = d2
		}
	}
	return out
}

// backendChecks reports each backend and what enforces its limits.
func backendChecks(all []backend.Facts, asked map[string]described) []doctor.Check {
	var out []doctor.Check
	ready := false
	for _, f := range all {
		says := asked[f.Name]
		if says.err != nil {
			f.Ready, f.Why, f.Fix = false, says.err.Error(), strings.Join(hints(says.err), "\n")
		}
		ready = ready || f.Ready
		name := "backend " + f.Name
		if !f.Ready {
			out = append(out, doctor.Check{Name: name, Status: doctor.Warn, Detail: f.Why, Fix: f.Fix})
			continue
		}
		if says.Doubt != "" {
			out = append(out, doctor.Check{Name: name, Status: doctor.Warn, Detail: says.Text + "; " + says.Doubt, Fix: says.Fix})
		} else {
			out = append(out, doctor.Check{Name: name, Status: doctor.OK, Detail: cmp.Or(says.Text, "ready")})
		}
		for _, limit := range []string{"memory", "pids", "cpus", "disk"} {
			e, known := f.Limits[limit]
			switch {
			case !known:
			case e.By == "":
				out = append(out, doctor.Check{Name: limit + " limit", Status: doctor.Warn, Detail: "not enforced on " + f.Name, Fix: e.Note})
			default:
				out = append(out, doctor.Check{Name: limit + " limit", Status: doctor.OK, Detail: "by " + e.By})
			}
		}
	}
	if !ready {
		out = append(out, doctor.Check{Name: "backends", Status: doctor.Fail, Detail: "none can run a bottle here", Fix: "mend one of the above"})
	}
	return out
}

// programChecks looks for the agents' programs, and for npm, which installs them.
func programChecks() []doctor.Check {
	var out []doctor.Check
	for _, name := range provider.Names() {
		if t, err := provider.Get(name); err == nil && !t.Source().IsZero() {
			out = append(out, doctor.Program(t.Source().Command, "needed by agents of the "+name+" provider; installed from npm at their first start"))
		}
	}
	return append(out, doctor.Program("npm", "only needed to install agent programs that are not on your PATH"))
}

func (a *app) loginCheck() doctor.Check {
	const name = "logins"
	v, err := a.vault()
	if err != nil {
		return doctor.Check{Name: name, Status: doctor.Warn, Detail: err.Error()}
	}
	stored, err := v.Logins()
	if err != nil {
		return doctor.Check{Name: name, Status: doctor.Warn, Detail: err.Error()}
	}
	var found []string
	for _, p := range loginProviders() {
		t, err := provider.Get(p)
		if err != nil {
			continue // it came from the list of names
		}
		for _, c := range t.Credentials() {
			if slices.Contains(stored, c.Login) {
				found = append(found, p+" (login)")
			} else if a.sys.getenv(c.Env) != "" {
				found = append(found, p+" ("+c.Env+")")
			}
		}
	}
	if len(found) == 0 {
		return doctor.Check{Name: name, Status: doctor.Warn, Detail: "no agent has a credential", Fix: "claude-bottle login claude"}
	}
	return doctor.Check{Name: name, Status: doctor.OK, Detail: strings.Join(found, ", ")}
}

func (a *app) stateCheck() doctor.Check {
	const name = "home folder"
	home, err := a.home()
	if err != nil {
		return doctor.Check{Name: name, Status: doctor.Fail, Detail: err.Error(), Fix: "say --home <folder>"}
	}
	// Only look: opening the store would make it.
	fi, err := os.Stat(home)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return doctor.Check{Name: name, Status: doctor.OK, Detail: home + " (made at the first start)"}
	case err != nil:
		return doctor.Check{Name: name, Status: doctor.Fail, Detail: err.Error(), Fix: "make it readable for you"}
	case fi.Mode().Perm()&0o022 != 0:
		return doctor.Check{Name: name, Status: doctor.Fail, Detail: home + " can be written by others", Fix: "chmod go-w " + home}
	}
	if _, err := os.Stat(a.stateRoot(home)); err == nil {
		if _, err := a.store(); err != nil {
			return doctor.Check{Name: name, Status: doctor.Fail, Detail: err.Error(), Fix: "chmod 700 " + a.stateRoot(home)}
		}
	}
	return doctor.Check{Name: name, Status: doctor.OK, Detail: home}
}

func (a *app) manifestCheck() doctor.Check {
	const name = "manifests"
	m, err := a.manifests()
	if err != nil {
		return doctor.Check{Name: name, Status: doctor.Warn, Detail: err.Error()}
	}
	if m.Empty() {
		return doctor.Check{Name: name, Status: doctor.OK, Detail: "none yet (a first pair is written at the first start)"}
	}
	detail := count(len(m.Agents()), "agent", "agents") + ", " + count(len(m.Bottles()), "bottle", "bottles")
	if bad := m.Errors(); len(bad) > 0 {
		return doctor.Check{Name: name, Status: doctor.Warn, Detail: detail + ", " + count(len(bad), "mistake", "mistakes"), Fix: bad[0].Error()}
	}
	return doctor.Check{Name: name, Status: doctor.OK, Detail: detail}
}

func (a *app) leftoverCheck(ctx context.Context) doctor.Check {
	const name = "leftovers"
	home, err := a.home()
	if err != nil {
		return doctor.Check{Name: name, Status: doctor.Warn, Detail: err.Error()}
	}
	if _, err := os.Stat(a.stateRoot(home)); errors.Is(err, os.ErrNotExist) {
		return doctor.Check{Name: name, Status: doctor.OK, Detail: "none"}
	}
	found, err := a.leftovers(ctx, false)
	switch {
	case err != nil:
		return doctor.Check{Name: name, Status: doctor.Warn, Detail: err.Error()}
	case len(found) > 0:
		return doctor.Check{Name: name, Status: doctor.Warn, Detail: count(len(found), "thing is", "things are") + " left of ended bottles", Fix: "claude-bottle cleanup"}
	}
	return doctor.Check{Name: name, Status: doctor.OK, Detail: "none"}
}

func printChecks(w io.Writer, st style, checks []doctor.Check) {
	width := 0
	for _, c := range checks {
		width = max(width, len(c.Name))
	}
	for _, c := range checks {
		mark := map[doctor.Status]string{doctor.OK: st.green("ok  "), doctor.Warn: st.yellow("warn"), doctor.Fail: st.red("fail")}[c.Status]
		putf(w, "%s  %-*s  %s\n", mark, width, c.Name, safe(c.Detail))
		for line := range strings.SplitSeq(c.Fix, "\n") {
			if line != "" {
				putf(w, "      %-*s  %s\n", width, "", st.cyan("-> "+safe(line)))
			}
		}
	}
}
