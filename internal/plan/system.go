package plan

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
)

// ImageVariable is the operator's variable that names an image to be used as it is.
const ImageVariable = "CLAUDE_BOTTLE_IMAGE"

// imageName is what images we build are called.
const imageName = "claude-bottle:latest"

// system says what the bottle's own system is made from, on backends whose bottles have one. It
// names an image and looks for none.
func (b *builder) system() {
	i := slices.IndexFunc(b.host.Backends, func(f backend.Facts) bool { return f.Name == b.plan.Backend })
	if i < 0 {
		return // said already
	}
	p, f := b.effective.Provider, b.host.Backends[i]
	if key := b.unsuited(f); key != nil {
		what := "which runs no containers"
		if !f.OwnSystem {
			what = "whose bottles have this host's programs"
		}
		b.note(Stop, "start it with --backend docker, or remove the key", "%s: %s has no meaning on the %s backend, %s", key.At, key.Key, f.Name, what)
	}
	if !f.OwnSystem {
		return
	}
	b.plan.System = &backend.System{Ref: imageName, Base: p.Base, Runtime: b.effective.Runtime.Name}
	if p.Dockerfile != "" {
		b.plan.System.Dockerfile = b.hostPath(p.Dockerfile)
		if b.host.ReadFile != nil {
			if _, err := b.host.ReadFile(b.plan.System.Dockerfile); err != nil {
				b.fail(p.DockerfileAt, "agent_provider.dockerfile", "name a Dockerfile of this host", "%s", err)
			}
		}
	}
	if ref := b.host.value(ImageVariable); ref != "" {
		b.plan.System.Ref, b.plan.System.Prebuilt = ref, true
		if strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../") {
			b.note(Stop, "name the archive by its absolute path", "%s is %s, and a launch knows no current folder", ImageVariable, quote(ref))
		}
		if p.Dockerfile != "" || p.Base != "" {
			b.note(Warn, "unset "+ImageVariable, "%s names %s, which is used as it is: what the bottle says about its image does not count", ImageVariable, quote(ref))
		}
		b.plan.System.Dockerfile, b.plan.System.Base = "", ""
	}
}

// unsuited returns the first key of the bottle that has no meaning on a backend, nil when there is none.
func (b *builder) unsuited(f backend.Facts) *manifest.Unbuilt {
	p := b.effective.Provider
	switch {
	case p.Dockerfile != "" && !f.OwnSystem:
		return &manifest.Unbuilt{Key: "agent_provider.dockerfile", At: p.DockerfileAt}
	case p.Base != "" && !f.OwnSystem:
		return &manifest.Unbuilt{Key: "agent_provider.base", At: p.BaseAt}
	case b.effective.Runtime.Name != "" && !f.Runtimes:
		return &manifest.Unbuilt{Key: "runtime", At: b.effective.Runtime.At}
	}
	return nil
}

// hostPath resolves a path of a manifest that may begin with "~/".
func (b *builder) hostPath(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && b.host.Home != "" {
		return filepath.Join(b.host.Home, rest)
	}
	return path
}
