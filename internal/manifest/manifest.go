// Package manifest reads what the operator wrote: one Markdown file with YAML frontmatter for each
// agent (agents/<name>.md, the body is its system prompt) and for each bottle (bottles/<name>.md,
// the body is for people). Every mistake of a file is told at once, as file:line:col with the
// accepted keys and the nearest one; nothing that isn't understood is passed over, because an
// ignored key is a policy wider than its author meant. A broken file stops only what uses it.
//
//	m, err := manifest.Open(home+"/.claude-bottle", cwd)
//	e, err := m.Effective("researcher", nil)
//
// Agents may also come from the repository the operator stands in, ./.claude-bottle/agents. Bottles
// never do: they hold the policy, and the layout of the folders is what enforces that.
package manifest

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// Manifest is everything that was found, broken files included. It is immutable and safe for
// concurrent use.
type Manifest struct {
	agents, bottles, presets map[string]*file
	warnings                 []Warning
}

// Warning is something that was passed over, and why.
type Warning struct{ Path, Msg string }

// String returns "path: message", inert and bounded.
func (w Warning) String() string { return inert.Text(w.Path+": "+w.Msg, maxMessage) }

// Load reads the manifests of two trees: home is the operator's ~/.claude-bottle, repo the
// ./.claude-bottle of the folder they stand in, nil when there is none. The paths are how the trees
// are called in messages. Mistakes are kept with their files and come out where a file is used
// (Effective), or all together (Errors); missing folders are no mistake. Load only reads, files
// of at most 256 KiB and 1000 of each kind. Presets come from home alone, as bottles do.
//
// The repo tree is somebody else's: links in it are not followed. Open gives Load a tree that
// can't be left in other ways either.
func Load(home fs.FS, homePath string, repo fs.FS, repoPath string) *Manifest {
	m := &Manifest{agents: map[string]*file{}, bottles: map[string]*file{}, presets: map[string]*file{}}
	m.add(m.presets, home, homePath, KindPreset, false)
	m.add(m.bottles, home, homePath, KindBottle, false)
	m.add(m.agents, home, homePath, KindAgent, false)
	if repo != nil {
		for _, folder := range []string{"bottles", "presets"} {
			if _, err := fs.Lstat(repo, folder); err == nil {
				m.warnings = append(m.warnings, Warning{filepath.Join(repoPath, folder),
					"ignored: a repository may bring agents, never " + folder + "; " + folder + " are read from " + filepath.Join(homePath, folder) + " alone"})
			}
		}
		m.add(m.agents, repo, repoPath, KindAgent, true)
	}
	m.references()
	return m
}

func (m *Manifest) add(to map[string]*file, tree fs.FS, root string, kind Kind, repo bool) {
	files, warnings := readFolder(tree, root, kind, repo, m.presets)
	m.warnings = append(m.warnings, warnings...)
	for _, f := range files {
		if own, ok := to[f.name.String()]; ok {
			m.warnings = append(m.warnings, Warning{f.path, "ignored: your own " + own.path + " has this name"})
			continue
		}
		to[f.name.String()] = f
	}
}

// references checks what one file says about another.
func (m *Manifest) references() {
	for _, f := range m.agents {
		if n := f.agent.Bottle.String(); n != "" && m.bottles[n] == nil {
			f.missing("bottle", n, m.Bottles())
		}
	}
	for _, f := range m.bottles {
		if n := f.parent.String(); n != "" && m.bottles[n] == nil {
			f.missing("extends", n, m.Bottles())
		}
		if chain, round := m.chain(f); round && chain[len(chain)-1] == f.name.String() {
			f.fail(place{path: "extends"}, "goes in a circle: "+strings.Join(chain, " -> "), "one of them must not extend the next")
		}
	}
}

func (f *file) missing(key, name string, known []string) {
	f.fail(place{path: key}, fmt.Sprintf("there is no bottle %q", name), choices(name, known, "there is"))
}

// chain follows extends from f, f first. When it comes by a bottle again, round is true and the
// chain ends with that bottle's name.
func (m *Manifest) chain(f *file) (names []string, round bool) {
	for f != nil {
		n := f.name.String()
		round = slices.Contains(names, n)
		names = append(names, n)
		if round {
			return names, true
		}
		f = m.bottles[f.parent.String()]
	}
	return names, false
}

// Agents lists the names of all agents, broken ones included, sorted.
func (m *Manifest) Agents() []string { return slices.Sorted(maps.Keys(m.agents)) }

// Bottles lists the names of all bottles, broken ones included, sorted.
func (m *Manifest) Bottles() []string { return slices.Sorted(maps.Keys(m.bottles)) }

// Empty reports whether there is neither an agent nor a bottle: the first run.
func (m *Manifest) Empty() bool { return len(m.agents) == 0 && len(m.bottles) == 0 }

// Warnings lists what was passed over.
func (m *Manifest) Warnings() []Warning { return slices.Clone(m.warnings) }

// Errors lists the mistakes of all files, sorted by place.
func (m *Manifest) Errors() []*Error {
	var all []*Error
	for _, files := range []map[string]*file{m.agents, m.bottles, m.presets} {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			all = append(all, files[name].errs...)
		}
	}
	return all
}

// Summary is what a list of agents shows of one.
type Summary struct {
	Name        bottle.Name
	Path        string
	Description string // one line; empty when the file gives none
	Bottle      string // the bottle it runs in by default; may be empty
	FromRepo    bool
	Broken      bool
}

// Summaries describes all agents, sorted by name.
func (m *Manifest) Summaries() []Summary {
	var out []Summary
	for _, n := range m.Agents() {
		f := m.agents[n]
		s := Summary{Name: f.name, Path: f.path, Bottle: f.agent.Bottle.String(), FromRepo: f.repo, Broken: len(f.errs) > 0}
		if d, ok := f.agent.Description.(string); ok {
			s.Description = firstLine(d)
		}
		out = append(out, s)
	}
	return out
}

// firstLine is the first line of s, bounded and without anything that is not visible text.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return clip(strings.Map(func(r rune) rune {
		if !printable(string(r)) {
			return -1
		}
		return r
	}, line))
}
