package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/launch"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// Where a preflight says that a credential was found.
const (
	foundEnv   = "environment"
	foundLogin = "login"
)

// prepare resolves a request to what will be shown and launched. It reads files and the
// environment, and nothing else.
func (a *app) prepare(m *manifest.Manifest, r request) (preflight, error) {
	name, err := a.backendName(r.backend)
	if err != nil {
		return preflight{}, err
	}
	req := plan.Request{
		Agent: r.agent, Bottles: r.bottles, Backend: name, Label: r.label, Color: r.color,
		Prompt: r.prompt, Headless: r.headless, Args: r.args,
	}
	if r.copyCwd {
		if req.Cwd, err = a.sys.WorkDir(); err != nil {
			return preflight{}, fmt.Errorf("find the current folder: %w", err)
		}
	}
	host, err := a.host()
	if err != nil {
		return preflight{}, err
	}
	p, err := plan.Build(m, req, host)
	if err != nil {
		return preflight{}, err
	}
	return preflight{plan: p, facts: facts(host.Backends, p.Backend), found: a.findSecrets(p)}, nil
}

// host is what a plan may know of this machine.
func (a *app) host() (plan.Host, error) {
	home, err := a.sys.HomeDir()
	if err != nil {
		home = "" // a plan does without, and says so where it needs one
	}
	v, err := a.vault()
	if err != nil {
		return plan.Host{}, err
	}
	logins, err := v.Logins()
	if err != nil {
		return plan.Host{}, fmt.Errorf("list stored logins: %w", err)
	}
	h := plan.Host{
		LookupEnv: a.sys.LookupEnv,
		Logins:    logins,
		Backends:  a.backendFacts(),
		Home:      home,
		ReadFile:  os.ReadFile,
		Random:    rand.Reader,
	}
	if home != "" {
		h.SkillsPath = filepath.Join(home, ".claude", "skills")
		h.Skills = skillsTree(h.SkillsPath)
	}
	return h, nil
}

// skillsTree is the operator's folder of skills, nil when there is none.
func skillsTree(path string) fs.FS {
	if fi, err := os.Stat(path); err != nil || !fi.IsDir() {
		return nil
	}
	return os.DirFS(path)
}

// findSecrets tells where each of a plan's credentials would come from.
func (a *app) findSecrets(p plan.Plan) map[string]string {
	found := map[string]string{}
	for _, s := range p.Secrets {
		switch {
		case s.Env != "" && a.sys.getenv(s.Env) != "":
			found[s.Name] = foundEnv
		case s.Login != "":
			found[s.Name] = foundLogin // a plan names a login only when it is stored
		}
	}
	return found
}

// inputs resolves, after the operator's yes, what the plan only names: credentials, copied
// variables, and the questions a person must answer.
func (a *app) inputs(ctx context.Context, p plan.Plan) (launch.Inputs, error) {
	in := launch.Inputs{Secrets: map[string]secret.Value{}, Env: map[string]string{}}
	var errs []error
	for _, s := range p.Secrets {
		v, err := a.credential(ctx, s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		in.Secrets[s.Name] = v
	}
	for _, e := range p.Env {
		if e.Source != plan.EnvHost {
			continue
		}
		v, ok := a.sys.LookupEnv(e.Value)
		if !ok {
			errs = append(errs, withHint(fmt.Errorf("%s: env.%s copies your variable %s, which is not set", e.At, e.Name, e.Value), "export %s=...", e.Value))
			continue
		}
		in.Env[e.Name] = v
	}
	if len(errs) > 0 {
		return in, errors.Join(errs...) // before anybody is asked to type
	}
	for _, e := range p.Env {
		if e.Source != plan.EnvPrompt {
			continue
		}
		v, err := a.sys.askHidden(promptText(e))
		if err != nil {
			return in, fmt.Errorf("%s: env.%s is asked at launch: %w", e.At, e.Name, err)
		}
		in.Env[e.Name] = v.Reveal()
	}
	return in, nil
}

func promptText(e plan.Env) string {
	if e.Value == "" {
		return safe(e.Name) + ":"
	}
	return safe(e.Value) + " (" + safe(e.Name) + "):"
}

// credential reads one credential from the environment, or else from the vault.
func (a *app) credential(ctx context.Context, s plan.Secret) (secret.Value, error) {
	if s.Env != "" {
		if v := a.sys.getenv(s.Env); v != "" {
			return secret.New(v), nil
		}
	}
	if s.Login == "" {
		return secret.Value{}, withHint(fmt.Errorf("the credential %s is not set", s.Name), "export %s=...", s.Env)
	}
	v, err := a.vault()
	if err != nil {
		return secret.Value{}, err
	}
	return v.Load(ctx, s.Login)
}

// facts finds the facts of the backend called name.
func facts(all []backend.Facts, name string) backend.Facts {
	for _, f := range all {
		if f.Name == name {
			return f
		}
	}
	return backend.Facts{Name: name}
}
