//go:build linux

package e2e_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/setup"
)

func TestSelfTestInContainer(t *testing.T) {
	t.Parallel()
	if containers == nil {
		t.Skip("natively TestOrdinaryUser tells")
	}
	selfTested(t, newHome(t).bottle(t))
}

// Who may ask the engine sees how a container was made, and by that no credential, and no way out.
func TestD01NoSecretInContainer(t *testing.T) {
	t.Parallel()
	if containers == nil {
		t.Skip("a native bottle is described to nobody")
	}
	h := newHome(t)
	b := h.bottle(t)
	b.works(t, "-via", "connect", "-H", "Authorization: Bearer "+placeholder(t, b), "https://llm.test/v1/d01inspected")
	if machines() {
		toldSmolvm(t, b.id)
		return
	}
	c, err := containers.api.ContainerInspect(t.Context(), containerOf(b.id), client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c.Container)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), b.id) {
		t.Errorf("benign twin: this is not the bottle's description: %s", text)
	}
	for _, secret := range []string{tokenSecret, hostSecret, planted, "PRIVATE KEY", "E2E_TOKEN", "E2E_HOST_SECRET"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the container's description holds %s", secret)
		}
	}
	host := c.Container.HostConfig
	if host.NetworkMode != "none" || host.Privileged || !host.ReadonlyRootfs || len(host.PortBindings) > 0 || len(host.Devices) > 0 || host.PidMode != "" && host.PidMode != "private" {
		t.Errorf("the container is made with %+v", host)
	}
	for _, m := range c.Container.Mounts {
		switch {
		case m.Type == "volume" && strings.HasPrefix(m.Name, containerOf(b.id)+"-"):
		case m.Type == "tmpfs":
		case m.Type == "bind" && strings.HasPrefix(m.Source, b.dir+"/"):
		case m.Type == "bind" && m.Source == program && !m.RW: // cork
		default:
			t.Errorf("the container shows %+v", m)
		}
		if strings.HasSuffix(m.Source, ".sock") || m.RW && m.Type == "bind" && filepath.Dir(m.Source) != filepath.Join(b.dir, "docker") && filepath.Dir(m.Source) != b.dir {
			t.Errorf("the container shows %+v", m)
		}
	}
}

// toldSmolvm checks everything that smolvm was ever started with: whoever lists processes sees it.
func toldSmolvm(t *testing.T, id string) {
	t.Helper()
	calls, err := setup.Calls(binDir)
	if err != nil {
		t.Fatal(err)
	}
	mine := false
	for _, c := range calls {
		text := strings.Join(append(c.Argv, c.Env...), "\n")
		mine = mine || strings.Contains(text, id)
		for _, secret := range []string{tokenSecret, hostSecret, planted, "PRIVATE KEY", "E2E_", "_PROXY", "_proxy", "--net", "--volume"} {
			if strings.Contains(text, secret) {
				t.Errorf("smolvm was started with %s: %q", secret, c.Argv)
			}
		}
	}
	if !mine {
		t.Errorf("benign twin: smolvm was never told of %s", id)
	}
}
