package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// variables is an environment.
func variables(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return name
}

// need skips the test where a program is missing, and fails it in CI, which is to have them all.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", p)
		}
		t.Skipf("%s is not installed", p)
	}
}

// listen makes a unix socket at name that nobody answers on.
func listen(t *testing.T, name string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return name
}

// shortDir is a folder whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestDockerHostComesFirst(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	write(t, filepath.Join(home, ".docker", "config.json"), `{"currentContext": "elsewhere"}`)
	for host, want := range map[string]string{
		"unix:///x/docker.sock":         "unix:///x/docker.sock",
		"unix://":                       "unix:///var/run/docker.sock",
		"tcp://build.example:2375":      "tcp://build.example:2375",
		"tcp://build.example":           "tcp://build.example:2375",
		"tcp://:4000":                   "tcp://localhost:4000",
		"tcp://[::1]":                   "tcp://[::1]:2375",
		"tcp://h:1/behind/a/proxy/":     "tcp://h:1/behind/a/proxy",
		"build.example":                 "tcp://build.example:2375",
		"127.0.0.1:99":                  "tcp://127.0.0.1:99",
		"ssh://me@build.example":        "ssh://me@build.example",
		"ssh://build_2":                 "ssh://build_2",
		"ssh://me@[fe80::1]:2222":       "ssh://me@[fe80::1]:2222",
		"ssh://me@b:22/run/docker.sock": "ssh://me@b:22/run/docker.sock",
	} {
		got, err := Find(variables(map[string]string{"DOCKER_HOST": host, "DOCKER_CONTEXT": "other"}), home)
		if want := (Where{Host: want, From: "DOCKER_HOST"}); err != nil || got != want {
			t.Errorf("DOCKER_HOST=%s: got %+v, %v, want %+v", host, got, err, want)
		}
	}
}

// What is no address is refused, and what may be a password in it is not repeated.
func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"npipe:////./pipe/docker_engine", "fd://", "http://h", "foo://x", "://", " ",
		"unix://relative.sock", "unix:///" + strings.Repeat("a", maxSocket), "unix:///a\x00b",
		"tcp://h:0", "tcp://h:65536", "tcp://h:http", "tcp://h?x=1", "tcp://h h", "::", "tcp://[:]", "tcp://[fe80::1%25eth0]", "tcp://u:hunter2@h",
		"ssh://", "ssh://me:hunter2@h", "ssh://h?x", "ssh://h#hunter2", "ssh://h:hunter2@x",
		// Nothing that ssh could take for an option, nor the shells that ssh configurations feed names to.
		"ssh://-oProxyCommand=id", "ssh://-oProxyCommand=id@h", "ssh://-h", "ssh://me@-h", "ssh://$(id)", "ssh://`id`@h", "ssh://a%20b", "ssh://me@h/run/$(id)",
		"ssh://%2doProxyCommand=id", "ssh://-p@h", "ssh://me@h/a b", "ssh://me@h:-1", "ssh://%25h", "ssh://@h",
		"-H", strings.Repeat("x", 2000),
	} {
		w, err := Find(variables(map[string]string{"DOCKER_HOST": host}), "")
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Reason != BadSetting || !errors.Is(err, ErrUnavailable) || e.Hint() == "" {
			t.Errorf("DOCKER_HOST=%q: got %+v, %v", host, w, err)
			continue
		}
		if s := e.Error() + e.Hint(); strings.Contains(s, "hunter2") || !strings.Contains(s, "DOCKER_HOST") || len(s) > 500 {
			t.Errorf("DOCKER_HOST=%q: %s", host, s)
		}
	}
}

func TestTLSVariables(t *testing.T) {
	t.Parallel()
	home, certs := t.TempDir(), t.TempDir()
	in := func(dir string, skip bool, names ...string) *TLSFiles {
		f := &TLSFiles{SkipVerify: skip}
		for _, n := range names {
			write(t, filepath.Join(dir, n), "x")
			*map[string]*string{caFile: &f.CA, certFile: &f.Cert, keyFile: &f.Key}[n] = filepath.Join(dir, n)
		}
		return f
	}
	const host = "tcp://h"
	for name, c := range map[string]struct {
		env  map[string]string
		want Where
	}{
		"a folder alone switches nothing on": {map[string]string{"DOCKER_CERT_PATH": certs}, Where{Host: "tcp://h:2375"}},
		"verified": {map[string]string{"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": certs},
			Where{Host: "tcp://h:2376", TLS: in(certs, false, caFile, certFile, keyFile)}},
		"in docker's own folder, the authority is required": {map[string]string{"DOCKER_TLS_VERIFY": "1"},
			Where{Host: "tcp://h:2376", TLS: &TLSFiles{CA: filepath.Join(home, ".docker", caFile)}}},
		"not verified": {map[string]string{"DOCKER_TLS": "1"}, Where{Host: "tcp://h:2376", TLS: &TLSFiles{SkipVerify: true}}},
	} {
		c.env["DOCKER_HOST"], c.want.From = host, "DOCKER_HOST"
		got, err := Find(variables(c.env), home)
		if err != nil || !same(got, c.want) {
			t.Errorf("%s: got %s, %v, want %s", name, asJSON(got), err, asJSON(c.want))
		}
	}
	got, err := Find(variables(map[string]string{"DOCKER_HOST": "unix:///x", "DOCKER_TLS_VERIFY": "1"}), home)
	if err != nil || got.TLS != nil {
		t.Errorf("a socket with TLS: %s, %v", asJSON(got), err)
	}
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func same(a, b Where) bool { return asJSON(a) == asJSON(b) }

// Which socket it is when nothing names one.
func TestDefaultSockets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		there []string
		want  string
	}{
		"none":                   {nil, "docker.sock"},
		"docker before all":      {[]string{"docker.sock", "run/docker.sock", "podman.sock"}, "docker.sock"},
		"rootless before Podman": {[]string{"run/docker.sock", "podman.sock", "run/podman/podman.sock"}, "run/docker.sock"},
		"root's Podman":          {[]string{"podman.sock", "run/podman/podman.sock"}, "podman.sock"},
		"own Podman":             {[]string{"run/podman/podman.sock"}, "run/podman/podman.sock"},
	} {
		dir := shortDir(t)
		for _, s := range c.there {
			listen(t, filepath.Join(dir, s))
		}
		f := &finder{
			env:    func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": filepath.Join(dir, "run")}[name] },
			docker: filepath.Join(dir, "docker.sock"), podman: filepath.Join(dir, "podman.sock"),
		}
		got, err := f.find()
		if want := (Where{Host: "unix://" + filepath.Join(dir, c.want), From: "default"}); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
}

// Contexts as the docker command itself writes them.
func TestContextsOfTheDockerCommand(t *testing.T) {
	t.Parallel()
	need(t, "docker")
	config := t.TempDir()
	certs, err := newAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	docker := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("docker", args...)
		cmd.Env = []string{"DOCKER_CONFIG=" + config, "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	docker("context", "create", "work", "--docker", "host=unix:///x/docker.sock")
	docker("context", "create", "far", "--docker", "host=ssh://me@build.example:2222")
	docker("context", "create", "tls", "--docker", "host=tcp://build.example:2376,ca="+certs.ca+",cert="+certs.client.Cert+",key="+certs.client.Key)
	docker("context", "create", "loose", "--docker", "host=tcp://build.example,skip-tls-verify=true")
	stored := func(name, file string) string {
		sum := sha256.Sum256([]byte(name))
		return filepath.Join(config, "contexts", "tls", hex.EncodeToString(sum[:]), "docker", file)
	}
	want := map[string]Where{
		"work":  {Host: "unix:///x/docker.sock", From: `context "work"`},
		"far":   {Host: "ssh://me@build.example:2222", From: `context "far"`},
		"tls":   {Host: "tcp://build.example:2376", From: `context "tls"`, TLS: &TLSFiles{CA: stored("tls", caFile), Cert: stored("tls", certFile), Key: stored("tls", keyFile)}},
		"loose": {Host: "tcp://build.example:2376", From: `context "loose"`, TLS: &TLSFiles{SkipVerify: true}},
	}
	for name, w := range want {
		env := map[string]string{"DOCKER_CONFIG": config, "DOCKER_CONTEXT": name}
		if got, err := Find(variables(env), ""); err != nil || !same(got, w) {
			t.Errorf("DOCKER_CONTEXT=%s: got %s, %v, want %s", name, asJSON(got), err, asJSON(w))
		}
		docker("context", "use", name)
		delete(env, "DOCKER_CONTEXT")
		if got, err := Find(variables(env), ""); err != nil || !same(got, w) {
			t.Errorf("docker context use %s: got %s, %v, want %s", name, asJSON(got), err, asJSON(w))
		}
		if shown := docker("context", "ls", "--format", "{{if .Current}}{{.Name}}{{end}}"); strings.TrimSpace(shown) != name {
			t.Errorf("docker itself would use %s, not %s", shown, name)
		}
	}
	// A variable leads back to what no context decides.
	got, err := Find(variables(map[string]string{"DOCKER_CONFIG": config, "DOCKER_CONTEXT": "default"}), "")
	if err != nil || got.From != "default" {
		t.Errorf("DOCKER_CONTEXT=default: %+v, %v", got, err)
	}
	docker("context", "use", "work")
	docker("context", "rm", "-f", "work")
	write(t, filepath.Join(config, "config.json"), `{"currentContext": "work"}`)
	_, err = Find(variables(map[string]string{"DOCKER_CONFIG": config}), "")
	refused(t, err, BadSetting, `context "work"`, "config.json", "meta.json does not exist", "docker context ls")
}

// refused checks an error's reason and that its text and hint hold the words.
func refused(t *testing.T, err error, reason Reason, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != reason || !errors.Is(err, ErrUnavailable) {
		t.Errorf("got error %v, want one for %q", err, reason)
		return
	}
	for _, w := range words {
		if !strings.Contains(e.Error()+"\n"+e.Hint(), w) {
			t.Errorf("%q is in neither of\n%s\n%s", w, e, e.Hint())
		}
	}
	if e.Hint() == "" {
		t.Errorf("no hint: %v", e)
	}
}

func TestDamagedConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	meta := func(name string) string {
		sum := sha256.Sum256([]byte(name))
		return filepath.Join("contexts", "meta", hex.EncodeToString(sum[:]), "meta.json")
	}
	for name, c := range map[string]struct {
		config, meta string
		words        []string
	}{
		"config: not JSON":      {`{`, ``, []string{"config.json", "unexpected end"}},
		"config: too large":     {`{"x": "` + strings.Repeat("x", maxFile) + `"}`, ``, []string{"larger than 1 MiB"}},
		"config: other type":    {`{"currentContext": 7}`, ``, []string{"config.json"}},
		"name: a path":          {`{"currentContext": "../../x"}`, ``, []string{"no name of a context"}},
		"name: hostile":         {`{"currentContext": "\u001b[2J"}`, ``, []string{`x1b[2J`, "no name of a context"}},
		"name: an option":       {`{"currentContext": "-H"}`, ``, []string{"no name of a context"}},
		"meta: not JSON":        {`{"currentContext": "work"}`, `nope`, []string{`context "work"`, "config.json", "meta.json"}},
		"meta: too large":       {`{"currentContext": "work"}`, strings.Repeat(" ", maxFile+1), []string{"larger than 1 MiB"}},
		"meta: another's":       {`{"currentContext": "work"}`, `{"Name": "play", "Endpoints": {"docker": {"Host": "unix:///x"}}}`, []string{`another context, "play"`}},
		"meta: no endpoint":     {`{"currentContext": "work"}`, `{"Name": "work", "Endpoints": {"kubernetes": {}}}`, []string{"no docker endpoint"}},
		"meta: no host":         {`{"currentContext": "work"}`, `{"Name": "work", "Endpoints": {"docker": {}}}`, []string{"the address is empty"}},
		"meta: options for ssh": {`{"currentContext": "work"}`, `{"Name": "work", "Endpoints": {"docker": {"Host": "ssh://-oProxyCommand=id"}}}`, []string{"not beginning with -"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "config.json"), c.config)
			if c.meta != "" {
				write(t, filepath.Join(dir, meta("work")), c.meta)
			}
			_, err := Find(variables(map[string]string{"DOCKER_CONFIG": dir}), "")
			refused(t, err, BadSetting, c.words...)
		})
	}
	// Naming the engine needs no configuration.
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.json"), `{`)
	if w, err := Find(variables(map[string]string{"DOCKER_CONFIG": dir, "DOCKER_HOST": "unix:///x"}), ""); err != nil {
		t.Errorf("DOCKER_HOST with a damaged configuration: %+v, %v", w, err)
	}
}

// A name that would keep a reader waiting is no configuration.
func TestConfigurationThatIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "config.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Find(variables(map[string]string{"DOCKER_CONFIG": dir}), "")
	refused(t, err, BadSetting, "not a regular file")
}
