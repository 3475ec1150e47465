package cli

import (
	"fmt"

	"github.com/claude-bottle/claude-bottle/internal/manifest"
)

// manifests reads all agents and bottles, and nothing else.
func (a *app) manifests() (*manifest.Manifest, error) {
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	dir, err := a.sys.WorkDir()
	if err != nil {
		return nil, fmt.Errorf("find the current folder: %w", err)
	}
	return manifest.Open(home, dir)
}

// ensureManifests is manifests for the verbs a newcomer types first: when there is nothing at all
// it writes the starter pair, says so, and reads that.
func (a *app) ensureManifests() (*manifest.Manifest, error) {
	m, err := a.manifests()
	if err != nil || !m.Empty() {
		return m, err
	}
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	written, err := manifest.WriteStarter(home)
	if err != nil {
		return nil, fmt.Errorf("write a first agent and bottle: %w", err)
	}
	putln(a.sys.Stderr, "first run: wrote a commented agent and bottle to begin with")
	for _, path := range written {
		putln(a.sys.Stderr, "  "+path)
	}
	return a.manifests()
}
