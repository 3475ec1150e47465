package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/state"
)

// auditLog prints a bottle's audit lines: as recorded, or one readable line each.
func (a *app) auditLog(ctx context.Context, dir *state.Dir, o logsOptions) error {
	view := auditView{w: a.sys.Stdout, st: a.sys.styleFor(a.sys.Stdout)}
	err := a.tail(ctx, dir, state.AuditFile, o.follow, func(line []byte) error {
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("%s: a line is no audit event: %w", dir.Path(state.AuditFile), err)
		}
		if o.asJSON {
			// Encoded anew rather than copied: whatever was put into the file, a line of JSON from
			// us holds no raw control characters.
			return json.NewEncoder(a.sys.Stdout).Encode(e)
		}
		return view.show(e)
	})
	return errors.Join(err, view.release())
}

// auditView is the audit log for a person. What comes before the self-test's result is its own
// knocking on every door: it is held back, and shown only where the result is not good.
type auditView struct {
	w      io.Writer
	st     style
	tested bool
	held   []audit.Event
}

func (v *auditView) show(e audit.Event) error {
	if !v.tested && e.Verdict != "" && e.Kind != audit.KindSelfTest {
		v.held = append(v.held, e)
		return nil
	}
	if e.Kind == audit.KindSelfTest && !v.tested {
		v.tested = true
		if e.Verdict == policy.Allow.String() {
			if n := len(v.held); n > 0 {
				e.Text = fmt.Sprintf("%s (--json shows its %s)", e.Text, count(n, "request", "requests"))
			}
			v.held = nil
		}
	}
	return errors.Join(v.release(), v.print(e))
}

// release prints what was held back.
func (v *auditView) release() error {
	var errs []error
	for _, e := range v.held {
		errs = append(errs, v.print(e))
	}
	v.held = nil
	return errors.Join(errs...)
}

func (v *auditView) print(e audit.Event) error {
	_, err := fmt.Fprintln(v.w, auditLine(v.st, e))
	return err
}

// auditLine is one event for a person: time, verdict, what, why.
func auditLine(st style, e audit.Event) string {
	verdict := st.dim("     ")
	switch e.Verdict {
	case "allow":
		verdict = st.green("allow")
	case "deny":
		verdict = st.red("deny ")
	}
	text := auditText(e)
	if e.Verdict == "deny" && e.Why != "" {
		text = joinNonEmpty("  ", text, st.yellow(safe(e.Why)))
	}
	for _, f := range e.Findings {
		if f.Action != "blocked" || e.Verdict != "deny" || f.Kind == "canary" { // else the reason tells
			text = joinNonEmpty("  ", text, st.yellow(safe(findingText(f))))
		}
	}
	return st.dim(e.Time.Local().Format("15:04:05")) + " " + verdict + " " + fmt.Sprintf("%-9s", safe(string(e.Kind))) + " " + strings.TrimLeft(text, " ")
}

func auditText(e audit.Event) string {
	where := safe(e.Host)
	if where == "" {
		where = safe(e.Addr)
	}
	if e.Port != 0 && e.Port != 443 {
		where = fmt.Sprintf("%s:%d", where, e.Port)
	}
	var facts []string
	if e.Status != 0 {
		facts = append(facts, fmt.Sprint(e.Status))
	}
	if e.BytesOut != 0 || e.BytesIn != 0 {
		facts = append(facts, fmt.Sprintf("%s out, %s in", bytesText(e.BytesOut), bytesText(e.BytesIn)))
	}
	if e.Millis >= 1 {
		facts = append(facts, fmt.Sprintf("%.0f ms", e.Millis))
	}
	if e.Count != 0 {
		facts = append(facts, fmt.Sprintf("%d times", e.Count))
	}
	what := joinNonEmpty(" ", safe(e.Method), where+safe(e.Path), safe(e.Text))
	if len(facts) > 0 {
		what += " (" + strings.Join(facts, ", ") + ")"
	}
	return what
}

// findingText is a finding in a few words: "redacted known GITHUB_TOKEN in the body, as base64".
func findingText(f audit.Finding) string {
	text := f.Action + " " + f.Kind
	if f.Name != "" {
		text += " " + f.Name
	} else if f.Excerpt != "" {
		text += " (" + f.Excerpt + ")"
	}
	text += " in " + f.Where
	if f.Via != "" {
		text += ", as " + f.Via
	}
	return text
}
