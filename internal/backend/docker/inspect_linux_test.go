package docker

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"

	"github.com/claude-bottle/claude-bottle/internal/backend"
)

// planted stands for a credential of the operator's.
const planted = "sk-ant-api03-planted-in-the-environment"

// credentials are what any of them looks like.
var credentials = regexp.MustCompile(`(?i)sk-ant|sk-proj|gh[pousr]_\w|AKIA[0-9A-Z]{16}|bearer |BEGIN [A-Z ]*PRIVATE KEY|api_?key|password|passwd=|_token|secret=`)

// What anybody sees who may ask the engine about a bottle: that it is sealed, and no secret.
func TestTheEngineKnowsNoSecretAndNoNetworkOfABottle(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", planted)
	t.Setenv("OPENAI_API_KEY", planted)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			k.needed(t)
			t.Parallel()
			s := k.aSpecOn(t)
			write(t, filepath.Join(s.Dir, "credentials"), planted)
			tools := t.TempDir()
			s.Mounts = append(s.Mounts, backend.Mount{Source: tools, Target: backend.Programs + "/tools"})
			s.Files = []backend.File{{Path: "/etc/ssl/ours.pem", Mode: 0o644, Data: []byte("content-of-a-file")}}
			b := k.up(t, s)
			sh(t, b, "test -d "+backend.Programs+"/tools && grep -q content-of-a-file /etc/ssl/ours.pem")
			raw, c := k.inspected(t, s.ID)
			for _, secret := range []string{planted, "content-of-a-file", "ANTHROPIC"} {
				if strings.Contains(raw, secret) {
					t.Errorf("the engine knows %q", secret)
				}
			}
			if found := credentials.FindString(raw); found != "" {
				t.Errorf("the engine knows something that looks like a credential, by %q: %s", found, raw)
			}
			for _, v := range c.Config.Env {
				if name, _, _ := strings.Cut(v, "="); !slices.Contains([]string{"PATH", "HOSTNAME", "HOME", "TERM", "container"}, name) {
					t.Errorf("the container has the variable %s", name)
				}
			}
			h := c.HostConfig
			if h.NetworkMode != "none" || h.Privileged || !h.ReadonlyRootfs || len(h.PortBindings) > 0 {
				t.Errorf("network %q, privileged %v, a read-only root %v, ports %v", h.NetworkMode, h.Privileged, h.ReadonlyRootfs, h.PortBindings)
			}
			want := slices.Clone(setupRights)
			if k.carries() {
				want = append(want, "CHOWN")
			}
			slices.Sort(want)
			got := rightsOf(h.CapAdd)
			if k.name == "podman" { // which tells how they differ from its defaults
				dropped := rightsOf(h.CapDrop)
				got = slices.Sorted(slices.Values(append(got, slices.DeleteFunc(slices.Clone(podmanRights), func(c string) bool { return slices.Contains(dropped, c) })...)))
			}
			if !slices.Equal(got, want) {
				t.Errorf("rights %q, want %q", got, want)
			}
			k.checkMounts(t, s, c)
			if err := b.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if left := k.remains(t, s); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if _, err := os.Lstat(filepath.Join(s.Dir, "docker")); !os.IsNotExist(err) {
				t.Errorf("our folder is left: %v", err)
			}
			holds(t, filepath.Join(workOf(s), "thesis"), "years of work")
		})
	}
}

// podmanRights are what Podman's containers have when nobody says otherwise.
var podmanRights = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}

// rightsOf are capabilities by their names alone, sorted.
func rightsOf(caps []string) []string {
	var out []string
	for _, c := range caps {
		out = append(out, strings.TrimPrefix(c, "CAP_"))
	}
	slices.Sort(out)
	return out
}

// checkMounts fails when something is mounted that isn't ours.
func (k kind) checkMounts(t *testing.T, s backend.Spec, c container.InspectResponse) {
	t.Helper()
	cork, _ := filepath.EvalSymlinks(os.Getenv(corkVariable))
	for _, m := range c.Mounts {
		if m.Type == "tmpfs" {
			if !slices.Contains(temporaryFolders, m.Destination) {
				t.Errorf("a temporary folder at %s", m.Destination)
			}
			continue
		}
		i := slices.IndexFunc(s.Mounts, func(o backend.Mount) bool { return o.Target == m.Destination })
		writable := i >= 0 && s.Mounts[i].Writable
		ours := strings.HasPrefix(m.Source, s.Dir+"/") || m.Source == cork || m.Source == os.Getenv(corkVariable) || i >= 0 && m.Source == s.Mounts[i].Source
		if k.carries() && i >= 0 {
			ours = m.Type == "volume" && strings.HasPrefix(m.Name, containerName(s.ID)+"-") && writable
		}
		if !ours {
			t.Errorf("%s is mounted at %s", m.Source+m.Name, m.Destination)
		}
		if m.RW != writable {
			t.Errorf("%s can be written to: %v", m.Destination, m.RW)
		}
	}
}
