package smolmachines

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/backendtest"
	"github.com/claude-bottle/claude-bottle/internal/smolvm"
	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest"
)

// Variables that tell processes of the suite's what to use.
const (
	corkVariable  = "CLAUDE_BOTTLE_TEST_CORK"
	fakeVariable  = "CLAUDE_BOTTLE_TEST_SMOLVM"
	stdioVariable = "CLAUDE_BOTTLE_TEST_STDIO"
)

// The engine that the suite's image is in, and its name.
const (
	engineVariable = "CLAUDE_BOTTLE_TEST_DOCKER"
	baseVariable   = "CLAUDE_BOTTLE_TEST_BASE"
)

// open is the backend as the environment says it is.
func open(string) backend.Backend {
	b := New(os.Getenv(corkVariable))
	b.stdio = os.Getenv(stdioVariable) != ""
	return b
}

// The test binary is its own attacker. Cork is our program as it is shipped, and smolvm a stand-in that
// runs guests in namespaces.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") { // a process of the suite's
		os.Exit(backendtest.Main(m, CorkMain, open))
	}
	dir, err := os.MkdirTemp("", "claude-bottle-smolvm-")
	if err != nil {
		panic(err)
	}
	fake, err := smolvmtest.Build(dir)
	if err != nil {
		panic(err)
	}
	code := 1
	suiteCache = filepath.Join(dir, "cache")
	if err := os.Setenv(fakeVariable, fake); err == nil {
		code = backendtest.WithProgram(corkVariable, func() int { return backendtest.Main(m, CorkMain, open) })
	}
	_ = os.RemoveAll(dir) // of no use any more
	os.Exit(code)
}

// suiteCache has the artifact that all of the suite's machines are made of.
var suiteCache string

// warm packs it by our program as it is shipped. With the race detector it takes a minute, and no row
// is to wait for that.
func (p place) warm(t *testing.T) {
	t.Helper()
	home := filepath.Join(p.vars["HOME"], ".claude-bottle")
	for name, text := range map[string]string{"agents/sh.md": "---\nbottle: sh\n---\nA shell.\n", "bottles/sh.md": "---\nagent_provider: {template: shell}\n---\n"} {
		path := filepath.Join(home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Getenv(corkVariable), "run", "sh", "--backend", Name, "--prompt", "true")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CLAUDE_BOTTLE_KEYRING=off", "CLAUDE_BOTTLE_IMAGE=" + os.Getenv(baseVariable)}
	for name, value := range p.vars {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the first machine: %v\n%s", err, out)
	}
}

// place is a host with smolvm, an engine and nothing else of ours.
type place struct {
	*smolvmtest.Tool
	vars map[string]string
}

// newPlace installs the stand-in. Without root it has no guests, and without an engine no image: that
// skips a test, but not where everything has to be there.
func newPlace(t *testing.T) place {
	t.Helper()
	missing := ""
	switch {
	case os.Geteuid() != 0:
		missing = "the stand-in of smolvm needs root to have guests"
	case os.Getenv(engineVariable) == "" || os.Getenv(baseVariable) == "":
		missing = "no engine: sudo scripts/engines up, then set what scripts/engines env prints"
	}
	if missing != "" {
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	// Short, since sockets lie in it.
	dir, err := os.MkdirTemp("", "cb-smolvm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	tool := smolvmtest.Install(t, os.Getenv(fakeVariable), filepath.Join(dir, "bin"))
	return place{tool, map[string]string{
		smolvm.ProgramVariable: tool.Path(), smolvm.DataVariable: filepath.Join(dir, "data"),
		"HOME": filepath.Join(dir, "home"), "XDG_CACHE_HOME": filepath.Join(dir, "cache"),
		"DOCKER_HOST": os.Getenv(engineVariable),
	}}
}

// backend is the backend of this place.
func (p place) backend() *Backend {
	return &Backend{exe: os.Getenv(corkVariable), env: func(name string) (string, bool) {
		v, ok := p.vars[name]
		return v, ok
	}}
}

func base() backend.System { return backend.System{Ref: os.Getenv(baseVariable), Prebuilt: true} }

// The suite, with the wire over the machine's socket, and without one.
func TestSuite(t *testing.T) {
	for _, stdio := range []string{"", "1"} {
		name := map[string]string{"": "socket", "1": "stdio"}[stdio]
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.vars["XDG_CACHE_HOME"] = suiteCache
			p.warm(t)
			for name, value := range p.vars {
				if name != "HOME" { // what builds programs needs the true one
					t.Setenv(name, value)
				}
			}
			t.Setenv(stdioVariable, stdio)
			backendtest.Run(t, backendtest.Config{
				Open: open, Enforced: Facts().Limits, System: base(), Carried: true, Nested: true,
			})
			p.check(t)
		})
	}
}

// check looks at every command that smolvm was ever given: only options it has, no network, nothing of
// the operator's surroundings.
func (p place) check(t *testing.T) {
	t.Helper()
	calls := p.Calls()
	if len(calls) == 0 {
		t.Error("smolvm was never asked for anything")
	}
	for _, c := range calls {
		if err := smolvmtest.Known(c.Argv); err != nil {
			t.Errorf("%q: %v", c.Argv, err)
		}
		end := len(c.Argv)
		for i, a := range c.Argv {
			if a == "--" {
				end = i
				break
			}
		}
		for _, a := range c.Argv[:end] {
			for _, never := range []string{"--net", "--network", "--net-backend", "--dns", "-p", "--port", "--allow-cidr", "--allow-host", "--outbound-localhost-only", "--ssh-agent", "--docker-socket", "-e", "--env", "-v", "--volume"} {
				if a == never || strings.HasPrefix(a, never+"=") {
					t.Errorf("%q has %s", c.Argv, never)
				}
			}
		}
		for _, v := range c.Env {
			name, _, _ := strings.Cut(v, "=")
			switch name {
			case "PATH", "LANG", "HOME", "SMOLVM_DATA_DIR", "SMOLVM_SECCOMP", "SMOLVM_LANDLOCK", "SMOLVM_EGRESS_FLOOR":
			default:
				t.Errorf("%q was started with %s", c.Argv, v)
			}
		}
	}
}
