// Package internal_test holds the architecture of the project as a test: which package may import
// which, with the reason. The linter mirrors the most important rules so that editors show them.
package internal_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/claude-bottle/claude-bottle/internal/"

// layers, from the top: a package may import packages of its own layer only where sameLayer says
// so, and any package of a layer below. "cli" stands for cli and everything under cli/.
var layers = [][]string{
	{"e2e", "bench", "picture"}, // programs about the program: nothing imports them
	{"cli"},
	{"tui", "tmux"},
	{"demo"},
	{"launch", "terminal"},
	{"warden"},
	{"backend/all"},
	{"backend/native", "backend/backendtest", "backend/docker", "backend/smolmachines"},
	{"backend/guest", "backend/jail", "backend/carry", "backend/system"},
	{"selftest", "plan"},
	{"provider", "image", "session", "workspace", "standin", "vault", "state", "egress", "cork", "manifest"},
	{"backend", "audit", "preset"},
	{"wire", "progress", "spawn", "policy", "engine", "smolvm", "scan", "usage"},
	{"bottle", "secret", "inert", "archive"},
}

// sameLayer are the imports inside a layer that are meant.
var sameLayer = map[string][]string{
	"backend/native": {}, // a driver knows no other driver
	"plan":           {},
}

// forbidden are imports of anybody's code that a layer rule can't say.
var forbidden = []struct {
	pkg, imports, why string
}{
	{"manifest", "os/exec", "manifests are read, nothing is run: prepare is pure"},
	{"plan", "os/exec", "prepare is pure: it starts no process"},
	{"plan", "net/http", "prepare is pure: it opens no connection"},
	{"policy", "net/http", "policy answers questions about values; it knows no protocol"},
	{"policy", "os", "policy does no IO"},
	{"bottle", "os", "names and states do no IO"},
	{"secret", "os", "a credential value does no IO"},
	{"cork", "net/http", "cork is the smallest thing that can be PID 1: no HTTP in the bottle"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, goos string) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]pkg{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs[strings.TrimPrefix(p.ImportPath, module)] = p
	}
	return pkgs
}

// layerOf finds the layer of the longest listed prefix of name.
func layerOf(name string) (layer int, group string, ok bool) {
	for i, l := range layers {
		for _, g := range l {
			if (name == g || strings.HasPrefix(name, g+"/")) && len(g) > len(group) {
				layer, group, ok = i, g, true
			}
		}
	}
	return layer, group, ok
}

func TestArrowsPointDown(t *testing.T) {
	t.Parallel()
	for name, p := range list(t, "linux") {
		if !strings.HasPrefix(p.ImportPath, module) {
			continue
		}
		from, group, ok := layerOf(name)
		if !ok {
			t.Errorf("package %s is in no layer: add it to layers, and to docs/ARCHITECTURE.md", name)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			into, toGroup, ok := layerOf(to)
			switch {
			case !ok, toGroup == group:
			case into < from:
				t.Errorf("%s imports %s, which stands above it", name, to)
			case into == from && !slices.Contains(sameLayer[group], toGroup):
				t.Errorf("%s imports %s beside it", name, to)
			}
		}
	}
}

func TestForbiddenImports(t *testing.T) {
	t.Parallel()
	pkgs := list(t, "linux")
	for _, rule := range forbidden {
		p, ok := pkgs[rule.pkg]
		if !ok {
			t.Errorf("rule about %s, which does not exist", rule.pkg)
		}
		if slices.Contains(p.Imports, rule.imports) {
			t.Errorf("%s imports %s: %s", rule.pkg, rule.imports, rule.why)
		}
	}
}

// A driver is known to the registry alone; everybody else sees the interface.
func TestOnlyTheRegistryKnowsDrivers(t *testing.T) {
	t.Parallel()
	for name, p := range list(t, "linux") {
		for _, imp := range p.Imports {
			driver, ok := strings.CutPrefix(imp, module+"backend/")
			if !ok || slices.Contains([]string{"all", "backendtest", "carry", "guest", "idmap", "jail", "meter", "system"}, driver) || strings.HasPrefix(name, "backend/"+strings.SplitN(driver, "/", 2)[0]) {
				continue
			}
			if name != "backend/all" {
				t.Errorf("%s imports the driver %s: go through backend/all", name, driver)
			}
		}
	}
}

// What runs inside a bottle must stay small: these would only be there by accident.
func TestCorkStaysSmall(t *testing.T) {
	t.Parallel()
	for _, dep := range list(t, "linux")["cork"].Deps {
		for _, bad := range []string{"net/http", "crypto/tls", module + "egress", module + "warden", module + "manifest", "github.com/spf13/cobra"} {
			if dep == bad {
				t.Errorf("cork links %s", dep)
			}
		}
	}
}
