package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/plan"
)

// preflight is what the operator says yes to: the plan, with what is known about the host.
type preflight struct {
	plan  plan.Plan
	facts backend.Facts
	// found says for each secret, by name, where its value is: "environment", "login"; a missing
	// one is not in it.
	found map[string]string
}

// pageWidth is the width preflights are laid out for.
const pageWidth = 80

// labelWidth is the width of the left column, the margin included.
const labelWidth = 13

// print writes the preflight. Names in it may come from a repository's agent file, so everything
// passes safe.
func (p preflight) print(w io.Writer, st style) { p.printWide(w, st, pageWidth) }

// printWide is print for that many columns.
func (p preflight) printWide(w io.Writer, st style, width int) {
	s := sheet{w: w, st: st, width: width}
	putln(w, st.bold(p.plan.ID.String())+paintedLabel(st, p.plan))
	s.row("agent", p.plan.Agent.String())
	s.row("provider", p.provider())
	s.row("backend", p.backend())
	s.words("image", p.image())
	s.row("runtime", p.runtime())
	s.row("bottle", safe(strings.Join(p.plan.Bottles, " + ")))
	s.words("args", quoted(p.plan.Args))
	s.words("prompt", clip(safe(p.plan.Prompt), 200))
	s.words("env", p.env())
	s.rows("secrets", p.secrets(st))
	s.words("skills", p.skills())
	s.row("workspace", p.workspace())
	s.rows("limits", p.limits(st))
	s.row("git", p.git())
	s.rows("egress", p.egress(st))
	s.words("dlp", p.dlp(st))
	p.notes(s)
}

func paintedLabel(st style, p plan.Plan) string {
	if p.Label == "" {
		return ""
	}
	return "  " + st.cyan(safe(p.Label))
}

func (p preflight) provider() string {
	if len(p.plan.Provider.Command) == 0 {
		return safe(p.plan.Provider.Template)
	}
	return safe(p.plan.Provider.Template) + ": " + quoted(p.plan.Provider.Command)
}

func (p preflight) backend() string {
	name := safe(p.plan.Backend)
	switch {
	case !p.facts.Ready && p.facts.Why != "":
		return name + " (not ready)" // why and what to do stand in the notes
	case p.facts.At != "":
		return name + ", engine at " + safe(p.facts.At)
	}
	return name
}

// image says what the bottle's own system is made from. Whether it has to be built is for launch to
// find out.
func (p preflight) image() string {
	y := p.plan.System
	switch {
	case y == nil:
		return ""
	case y.Prebuilt:
		return safe(y.Ref) + ", as it is (your CLAUDE_BOTTLE_IMAGE)"
	case y.Dockerfile != "":
		return safe(y.Ref) + ", from " + safe(y.Dockerfile)
	case y.Base != "":
		return safe(y.Ref) + ", from " + safe(y.Base)
	}
	return safe(y.Ref) + ", from our own Dockerfile"
}

func (p preflight) runtime() string {
	switch {
	case p.plan.System == nil:
		return ""
	case p.plan.System.Runtime != "":
		return safe(p.plan.System.Runtime) + ", or no launch"
	}
	return "gVisor where the engine has it, else its default"
}

// env lists names and where values come from, never a value.
func (p preflight) env() string {
	var names []string
	for _, e := range p.plan.Env {
		switch e.Source {
		case plan.EnvHost:
			if e.Value == e.Name {
				names = append(names, safe(e.Name)+" (yours)")
			} else {
				names = append(names, fmt.Sprintf("%s (your %s)", safe(e.Name), safe(e.Value)))
			}
		case plan.EnvPrompt:
			names = append(names, safe(e.Name)+" (asked)")
		default:
			names = append(names, safe(e.Name))
		}
	}
	return strings.Join(names, ", ")
}

func (p preflight) secrets(st style) []string {
	width := 0
	for _, s := range p.plan.Secrets {
		width = max(width, visible(secretName(s)))
	}
	var lines []string
	for _, s := range p.plan.Secrets {
		where := st.red("missing")
		switch from := p.found[s.Name]; {
		case from == "":
		case s.Placeholder == "":
			where = st.green("from your "+from) + "; looked for in what leaves"
		default:
			where = st.green("from your "+from) + "; never in the bottle"
		}
		lines = append(lines, fmt.Sprintf("%-*s  %s", width, secretName(s), where))
	}
	return lines
}

// secretName is the variable an operator knows the secret by, or the login.
func secretName(s plan.Secret) string {
	if s.Env != "" {
		return safe(s.Env)
	}
	return safe(s.Name)
}

func (p preflight) skills() string {
	names := make([]string, len(p.plan.Skills))
	for i, s := range p.plan.Skills {
		names[i] = safe(s.Name)
	}
	return strings.Join(names, ", ")
}

func (p preflight) workspace() string {
	if p.plan.Workspace.CopyOf == "" {
		return "an empty folder"
	}
	return "a copy of " + safe(p.plan.Workspace.CopyOf)
}

func (p preflight) limits(st style) []string {
	var lines []string
	add := func(key, text string) {
		e, known := p.facts.Limits[key]
		switch {
		case e.By != "":
			text += st.dim(" (" + safe(e.By) + ")")
		case known:
			text += st.yellow(" (not enforced here)") // a note says why
		}
		lines = append(lines, text)
	}
	l := p.plan.Limits
	if l.Memory > 0 {
		add("memory", bytesText(l.Memory)+" memory")
	}
	if l.PIDs > 0 {
		add("pids", fmt.Sprintf("%d processes", l.PIDs))
	}
	if l.CPUs > 0 {
		add("cpus", fmt.Sprintf("%g cores", l.CPUs))
	}
	if l.Disk > 0 {
		add("disk", bytesText(l.Disk)+" disk")
	}
	return lines
}

func (p preflight) git() string {
	g := p.plan.Git
	name, email := safe(g.Name), safe(g.Email)
	if email != "" {
		email = "<" + email + ">"
	}
	who := joinNonEmpty(" ", name, email)
	if who == "" {
		return ""
	}
	from := joinNonEmpty(", ", provenance("name", g.NameFrom), provenance("email", g.EmailFrom))
	if g.NameFrom == g.EmailFrom {
		from = g.NameFrom
	}
	if from != "" {
		who += " (" + safe(from) + ")"
	}
	return who
}

func provenance(field, from string) string {
	if from == "" {
		return ""
	}
	return field + ": " + from
}

// dlp tells how the bottle's scanning differs from the usual.
func (p preflight) dlp(st style) string {
	parts := usualScan(p.plan.Routes)
	if p.plan.DLP.Rules != "" {
		parts = append(parts, "your own credential shapes too")
	}
	if !p.plan.DLP.Canary {
		parts = append(parts, st.yellow("no canary"))
	}
	return strings.Join(parts, "; ")
}

func (p preflight) notes(s sheet) {
	if len(p.plan.Notes) > 0 {
		putln(s.w)
	}
	for _, n := range p.plan.Notes {
		mark, paint := "note:", s.st.dim
		switch n.Level {
		case plan.Warn:
			mark, paint = "warning:", s.st.yellow
		case plan.Stop:
			mark, paint = "stop:", s.st.red
		}
		s.mark(paint(mark), len(mark), safe(n.Text))
		if n.Fix != "" {
			s.mark(s.st.dim("  fix:"), 6, safe(n.Fix))
		}
	}
}

// warnings writes the Warn notes alone, one line each, for a launch whose preflight nobody sees.
func (p preflight) warnings(w io.Writer) {
	for _, n := range p.plan.Notes {
		if n.Level == plan.Warn {
			putln(w, "warning: "+safe(n.Text))
		}
	}
}

// quoted shows an argument list so that its boundaries are seen.
func quoted(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if a = safe(a); a == "" || strings.ContainsAny(a, " \t'\"\\$`|&;<>()*?#") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out[i] = a
	}
	return strings.Join(out, " ")
}

// clip bounds text to n characters.
func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-3]) + "..."
}
