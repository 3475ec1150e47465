package launch

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/archive"
	"github.com/claude-bottle/claude-bottle/internal/plan"
	"github.com/claude-bottle/claude-bottle/internal/provider"
	"github.com/claude-bottle/claude-bottle/internal/workspace"
)

// homeTar packs what the agent's home is to hold before its first start: the provider's files, the
// skills, the git identity. It is empty when there is nothing.
func homeTar(ctx context.Context, p plan.Plan, t provider.Template, s provider.Setup, c canary) ([]byte, error) {
	files := map[string]provider.File{}
	for _, f := range c.files() {
		files[f.Path] = f
	}
	for _, f := range t.Files(s) {
		files[f.Path] = f
	}
	if text := gitConfig(p.Git); text != "" {
		files[".gitconfig"] = provider.File{Path: ".gitconfig", Mode: 0o644, Data: []byte(text)}
	}
	if len(files) == 0 && len(p.Skills) == 0 {
		return nil, nil
	}
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	made := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		if err := folders(tw, made, path.Dir(name)); err != nil {
			return nil, err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Data))}
		if err := tw.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := tw.Write(f.Data); err != nil {
			return nil, err
		}
	}
	for _, skill := range p.Skills {
		if t.SkillsDir() == "" {
			break // the plan's notes say that this provider has no skills
		}
		target := path.Join(t.SkillsDir(), skill.Name)
		if err := folders(tw, made, target); err != nil {
			return nil, err
		}
		if err := skillInto(ctx, tw, skill, target); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// folders writes the entries of dir and the folders above it, once each.
func folders(tw *tar.Writer, made map[string]bool, dir string) error {
	if dir == "." || made[dir] {
		return nil
	}
	if err := folders(tw, made, path.Dir(dir)); err != nil {
		return err
	}
	made[dir] = true
	return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o700})
}

// skillInto copies one skill's tree below target.
func skillInto(ctx context.Context, tw *tar.Writer, skill plan.Skill, target string) error {
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := workspace.Tar(ctx, skill.Source, pw, nil)
		done <- err
		_ = pw.CloseWithError(err) // never fails
	}()
	err := archive.Graft(tw, tar.NewReader(pr), target, nil)
	_ = pr.CloseWithError(err) // ends the writer when we stopped early
	if werr := <-done; werr != nil && err == nil {
		err = werr
	}
	if err != nil {
		return fmt.Errorf("skill %s: %w", skill.Name, err)
	}
	return nil
}

// gitConfig writes the identity git claims in the bottle; empty when there is none. Values were
// checked by the manifest; quoting is git's own, so that no value can end its line.
func gitConfig(u plan.GitUser) string {
	if u.Name == "" && u.Email == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString("[user]\n")
	for _, f := range [][2]string{{"name", u.Name}, {"email", u.Email}} {
		if f[1] != "" {
			fmt.Fprintf(&b, "\t%s = \"%s\"\n", f[0], gitQuote.Replace(f[1]))
		}
	}
	return b.String()
}

// gitQuote escapes as git-config(1) wants it inside double quotes.
var gitQuote = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
