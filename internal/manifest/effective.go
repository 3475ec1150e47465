package manifest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// Effective is one agent with the one bottle that results from all that were asked for. It is
// valid as far as files alone can tell; whether the host has what it names is package plan's
// question.
type Effective struct {
	Agent bottle.Name
	// AgentPath is the agent's file; FromRepo tells that a repository brought it.
	AgentPath string
	FromRepo  bool
	// Bottles are the bottles asked for, in the order they were merged; their parents are not
	// listed.
	Bottles []string

	SystemPrompt string
	Skills       []Skill
	Provider     Provider
	Env          []EnvVar
	Git          GitUser
	Routes       []Route
	DLP          DLP
	Limits       Limits
	// Runtime is the container runtime to insist on; zero for none.
	Runtime Runtime
	// Unbuilt is what this version can't enforce and therefore must not launch.
	Unbuilt []Unbuilt
}

// Skill is a skill an agent asks for.
type Skill struct {
	Name string
	At   Pos
}

// Effective resolves an agent and an ordered list of bottles; with none, the agent's own counts.
// Each bottle is merged with its parents first, then they are laid over one another in order, by
// the same rules. The error joins every mistake of the files in use, or is a *NotFoundError.
func (m *Manifest) Effective(agent string, bottles []string) (Effective, error) {
	a := m.agents[agent]
	if a == nil {
		return Effective{}, &NotFoundError{KindAgent, agent, m.Agents()}
	}
	var errs []error
	if e := joined(a.errs); e != nil {
		errs = append(errs, e)
	}
	if len(bottles) == 0 && !a.agent.Bottle.IsZero() {
		bottles = []string{a.agent.Bottle.String()}
	}
	if len(bottles) == 0 && len(errs) == 0 {
		errs = append(errs, &Error{Pos: Pos{File: a.path}, Msg: fmt.Sprintf("agent %q names no bottle and none was given", agent),
			Hint: "write \"bottle: <name>\" into its frontmatter or start it with --bottle; " + choices("", m.Bottles(), "there is")})
	}
	l, more := m.merge(bottles, a)
	if errs = append(errs, more...); len(errs) > 0 {
		return Effective{}, errors.Join(errs...)
	}
	e := l.effective(bottles)
	e.Agent, e.AgentPath, e.FromRepo, e.SystemPrompt = a.name, a.path, a.repo, a.body
	if g := a.agent.Git; g != nil {
		e.Git = e.Git.over(g.User.identity("agent"))
	}
	for i, s := range a.agent.Skills {
		e.Skills = append(e.Skills, Skill{s.String(), a.at[fmt.Sprintf("skills[%d]", i)]})
	}
	return e, nil
}

// EffectiveBottle is Effective of an ordered list of bottles alone, for questions that no agent
// plays a part in.
func (m *Manifest) EffectiveBottle(bottles ...string) (Effective, error) {
	l, errs := m.merge(bottles, &file{})
	if len(errs) > 0 {
		return Effective{}, errors.Join(errs...)
	}
	return l.effective(bottles), nil
}

func (l layer) effective(bottles []string) Effective {
	e := Effective{
		Bottles: slices.Clone(bottles), Provider: Provider{Template: defaultTemplate},
		Env: l.env, Git: l.git, Limits: l.limits, Unbuilt: l.unbuilt(),
	}
	if l.provider != nil {
		e.Provider = *l.provider
	}
	if l.runtime != nil {
		e.Runtime = *l.runtime
	}
	e.Routes, e.DLP = l.scanned()
	return e
}

// merge lays the named bottles over one another, each with its parents.
func (m *Manifest) merge(names []string, a *file) (layer, []error) {
	var (
		all  layer
		errs []error
		told = map[*file]bool{}
	)
	for i, n := range names {
		switch {
		case slices.Contains(names[:i], n):
			errs = append(errs, fmt.Errorf("bottle %q is named twice", n))
			continue
		case m.bottles[n] == nil:
			if n != a.agent.Bottle.String() { // the agent's own is told with the agent's mistakes
				errs = append(errs, &NotFoundError{KindBottle, n, m.Bottles()})
			}
			continue
		}
		chain, round := m.chain(m.bottles[n])
		if round {
			chain = chain[:len(chain)-1]
		}
		for _, name := range slices.Backward(chain) { // parents first
			f := m.bottles[name]
			if e := joined(f.errs); e != nil && !told[f] {
				errs = append(errs, e)
				told[f] = true
			}
		}
		if len(errs) == 0 {
			all = all.over(m.whole(chain))
		}
	}
	return all, errs
}

// whole merges a chain of bottles, the child first, into one.
func (m *Manifest) whole(chain []string) layer {
	var l layer
	for _, name := range slices.Backward(chain) {
		l = l.over(m.bottles[name].layer)
	}
	return l
}
