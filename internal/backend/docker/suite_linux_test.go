package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/backend/backendtest"
	"github.com/claude-bottle/claude-bottle/internal/engine"
)

// kind is an engine with a way to run containers, as the suite is run over.
type kind struct {
	name    string
	host    string // the variable with its address
	runtime string // to insist on
	stdio   bool
	tls     bool
}

var kinds = []kind{
	{name: "docker", host: "CLAUDE_BOTTLE_TEST_DOCKER", runtime: "runc"},
	{name: "docker-stdio", host: "CLAUDE_BOTTLE_TEST_DOCKER", runtime: "runc", stdio: true},
	{name: "gvisor", host: "CLAUDE_BOTTLE_TEST_DOCKER", runtime: "runsc"},
	{name: "remote", host: "CLAUDE_BOTTLE_TEST_DOCKER_TLS", tls: true},
	{name: "podman", host: "CLAUDE_BOTTLE_TEST_PODMAN"},
}

// Variables that tell processes of the suite's what to use.
const (
	kindVariable = "CLAUDE_BOTTLE_TEST_KIND"
	corkVariable = "CLAUDE_BOTTLE_TEST_CORK"
)

func (k kind) where() (engine.Where, error) {
	w := engine.Where{Host: os.Getenv(k.host), From: k.host}
	if k.tls {
		dir := os.Getenv("CLAUDE_BOTTLE_TEST_DOCKER_CERTS")
		w.TLS = &engine.TLSFiles{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	}
	return w, nil
}

func (k kind) open(string) backend.Backend {
	cork := os.Getenv(corkVariable)
	return &Backend{exe: cork, where: k.where, stdio: k.stdio}
}

// needed skips a test that has no engine, but not where everything has to be there.
func (k kind) needed(t *testing.T) {
	t.Helper()
	if os.Getenv(k.host) != "" && os.Getenv("CLAUDE_BOTTLE_TEST_BASE") != "" {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not set: start the engines with scripts/engines", k.host)
	}
	t.Skipf("no engine: sudo scripts/engines up, then set %s", k.host)
}

// system is the image the bottles of the suite run.
func (k kind) system() backend.System {
	return backend.System{Ref: os.Getenv("CLAUDE_BOTTLE_TEST_BASE"), Prebuilt: true, Runtime: k.runtime}
}

// The test binary is its own attacker; cork is our program as it is shipped, without the C library
// that a race detector needs.
func TestMain(m *testing.M) {
	if strings.HasPrefix(strings.Join(os.Args[1:], ""), "-") && os.Getenv(corkVariable) != "" {
		os.Exit(m.Run()) // the suite as an ordinary user
	}
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-") { // not a process of the suite's
		os.Exit(backendtest.WithProgram(corkVariable, func() int { return backendtest.Main(m, CorkMain, nil) }))
	}
	var k kind
	for _, other := range kinds {
		if other.name == os.Getenv(kindVariable) {
			k = other
		}
	}
	os.Exit(backendtest.Main(m, CorkMain, k.open))
}

// The suite over every kind of engine. Each kind is a process of its own, since processes of the
// suite's must know which it is.
func TestSuite(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			k.needed(t)
			t.Setenv(kindVariable, k.name)
			limits := factsOf(k.where()).Limits
			if k.name == "podman" || k.runtime == gvisor {
				limits["tmp files"] = backend.Enforcement{Note: "its reports say so"}
			}
			backendtest.Run(t, backendtest.Config{
				Open: k.open, Enforced: limits, System: k.system(),
				Carried: k.tls || k.runtime == gvisor && os.Geteuid() == 0, OwnKernel: k.runtime == gvisor, PIDSlack: corkSlack,
			})
		})
	}
}
