package plan

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/provider"
)

// version is the format of a Plan's JSON.
const version = 1

// Colors are what a bottle's label can be tinted with.
func Colors() []string {
	return []string{"red", "blue", "green", "yellow", "purple", "orange", "pink", "cyan"}
}

// Build resolves r against m and h. What is wrong with what the operator wrote or asked is an
// error, everything at once; what the machine lacks is a Stop note of the Plan, so that the
// preflight shows it in place. A Plan with a Stop note must not be launched.
func Build(m *manifest.Manifest, r Request, h Host) (Plan, error) {
	e, err := m.Effective(r.Agent, r.Bottles)
	if err := errors.Join(err, r.check()); err != nil {
		return Plan{}, err
	}
	b := &builder{manifest: m, request: r, host: h, effective: e}
	b.plan = Plan{
		V: version, Agent: e.Agent, Bottles: e.Bottles, Label: r.Label, Color: r.Color,
		SystemPrompt: e.SystemPrompt, Prompt: r.Prompt, Headless: r.Headless, Args: slices.Clone(r.Args),
		Git:       GitUser{Name: e.Git.Name, NameFrom: e.Git.NameFrom, Email: e.Git.Email, EmailFrom: e.Git.EmailFrom},
		Workspace: Workspace{CopyOf: r.Cwd},
		Limits:    limits(e.Limits),
	}
	b.plan.ID, err = bottle.NewID(e.Agent, h.Random)
	if err != nil {
		return Plan{}, err
	}
	for _, step := range []func(){b.unbuilt, b.backend, b.system, b.provider, b.routes, b.dlp, b.env, b.skills, b.workspace, b.origin} {
		step()
	}
	if len(b.errs) > 0 {
		return Plan{}, errors.Join(b.errs...)
	}
	if _, err := policy.Compile(b.plan.Routes); err != nil {
		return Plan{}, fmt.Errorf("egress rules: %w", err)
	}
	return b.plan, nil
}

// builder is one run of Build.
type builder struct {
	manifest  *manifest.Manifest
	request   Request
	host      Host
	effective manifest.Effective

	template provider.Template
	plan     Plan
	moot     []policy.Finding // rules that the provider's own overrule
	errs     []error
}

func (b *builder) note(l NoteLevel, fix, format string, args ...any) {
	b.plan.Notes = append(b.plan.Notes, Note{Level: l, Text: fmt.Sprintf(format, args...), Fix: fix})
}

func (b *builder) fail(at manifest.Pos, field, hint, format string, args ...any) {
	b.errs = append(b.errs, &manifest.Error{Pos: at, Field: field, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// maxLabel bounds a label so that it fits a line beside the bottle's name.
const maxLabel = 60

// check looks at what needs neither manifest nor host.
func (r Request) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if inert.Text(r.Label, 0) != r.Label || len(r.Label) > maxLabel {
		bad("label %s must be one line of at most %d visible characters", quote(r.Label), maxLabel)
	}
	if r.Color != "" && !slices.Contains(Colors(), r.Color) {
		bad("unknown color %s%s; there is: %s", quote(r.Color), meant(r.Color, Colors()), strings.Join(Colors(), ", "))
	}
	if strings.Contains(r.Prompt, "\x00") || slices.ContainsFunc(r.Args, func(a string) bool { return strings.Contains(a, "\x00") }) {
		bad("a prompt or argument can't hold a NUL character")
	}
	if r.Cwd != "" && !filepath.IsAbs(r.Cwd) {
		bad("the folder to copy must be an absolute path, not %s", quote(r.Cwd))
	}
	return errors.Join(errs...)
}

// unbuilt refuses, by name, what the manifests ask for and this version can't enforce.
func (b *builder) unbuilt() {
	for _, u := range b.effective.Unbuilt {
		b.note(Stop, "remove it from "+u.At.File+" or choose another bottle",
			"%s: %s is understood, but this version can't enforce it, so it refuses to launch instead of ignoring it", u.At, u.Key)
	}
}

func (b *builder) backend() {
	known := b.host.Backends
	i := slices.IndexFunc(known, func(f backend.Facts) bool { return f.Name == b.request.Backend })
	if b.request.Backend == "" {
		// One that has what the bottle asks for, else the first, whose note says what it lacks.
		i = max(0, slices.IndexFunc(known, func(f backend.Facts) bool { return f.Ready && b.unsuited(f) == nil }))
	}
	if i < 0 || i >= len(known) {
		names := make([]string, len(known))
		for i, f := range known {
			names[i] = f.Name
		}
		b.errs = append(b.errs, fmt.Errorf("unknown backend %s%s; there is: %s", quote(b.request.Backend), meant(b.request.Backend, names), strings.Join(names, ", ")))
		return
	}
	f := known[i]
	b.plan.Backend = f.Name
	if !f.Ready {
		b.note(Stop, f.Fix, "the %s backend can't run here: %s", f.Name, f.Why)
	}
	b.unenforced(f)
	for _, text := range f.Notes {
		b.note(Info, "", "%s", text)
	}
}

// skills checks that the host has what the agent names.
func (b *builder) skills() {
	var known []string // read when needed: nothing is, mostly
	for _, s := range b.effective.Skills {
		if isFolder(b.host.Skills, s.Name) {
			b.plan.Skills = append(b.plan.Skills, Skill{Name: s.Name, Source: filepath.Join(b.host.SkillsPath, s.Name)})
			continue
		}
		if known == nil {
			known = folders(b.host.Skills)
		}
		hint := "there are none"
		if len(known) > 0 {
			hint = "there is: " + strings.Join(known, ", ")
		}
		if near := manifest.Nearest(s.Name, known); near != "" {
			hint = fmt.Sprintf("did you mean %q? %s", near, hint)
		}
		where := b.host.SkillsPath
		if where == "" {
			where = "~/.claude/skills"
		}
		b.fail(s.At, "skills", hint, "there is no skill %q in %s", s.Name, where)
	}
	if len(b.plan.Skills) > 0 && b.template != nil && b.template.SkillsDir() == "" {
		b.note(Warn, "", "the %s provider knows no skills: they are left out", b.template.Name())
		b.plan.Skills = nil
	}
}

// workspace refuses to hand a bottle the whole home folder: keys and tokens are in it.
func (b *builder) workspace() {
	if b.request.Cwd == "" {
		return
	}
	cwd := filepath.Clean(b.request.Cwd)
	b.plan.Workspace.CopyOf = cwd
	if b.host.Home != "" && within(filepath.Clean(b.host.Home), cwd) {
		b.note(Stop, "cd into the project and start again",
			"a copy of %s would give the bottle your whole home folder, keys and tokens included", cwd)
	}
}

// within reports whether path is folder or below it; both are clean and absolute.
func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// origin tells where the agent comes from when that isn't the operator, and what was passed over.
func (b *builder) origin() {
	if b.effective.FromRepo {
		b.note(Info, "", "the agent comes from this repository: %s", b.effective.AgentPath)
	}
	for _, w := range b.manifest.Warnings() {
		b.note(Warn, "", "%s", inert.Text(w.String(), 400))
	}
}

// quote makes text of the operator's or a file's fit for a message.
func quote(s string) string { return `"` + inert.Text(s, 80) + `"` }

// meant is ", did you mean ...?" when a known word is near.
func meant(s string, known []string) string {
	if near := manifest.Nearest(s, known); near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ""
}
