package plan_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/manifest"
	"github.com/claude-bottle/claude-bottle/internal/plan"
)

// manyManifests makes a folder with 50 agents and 50 bottles under home, a chain of parents among
// them, and skills.
func manyManifests(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("skills/review/SKILL.md", "x")
	for i := range 50 {
		write(fmt.Sprintf("home/agents/agent-%d.md", i), fmt.Sprintf("---\nbottle: bottle-%d\nskills: [review]\n---\n%02000d", i, i))
		extends := ""
		if i%10 > 0 {
			extends = fmt.Sprintf("extends: bottle-%d\n", i-1)
		}
		write(fmt.Sprintf("home/bottles/bottle-%d.md", i), "---\n"+extends+`env: {CI: "1", COPY: "${HOST_VALUE}"}
git-gate: {user: {name: Ada, email: ada@example.org}}
limits: {memory: 2GiB, pids: 500}
egress:
  routes:
    - {host: docs.python.org, matches: [{methods: [GET, HEAD]}]}
    - {host: "*.example.org", ports: [443, 8443], networks: [10.1.0.0/16]}
    - host: api.example.org
      matches: [{methods: [POST], paths: [{type: prefix, value: /v1}, {type: regex, value: "/v[0-9]+/x"}]}]
      auth: {scheme: Bearer, token_ref: FORGE}
---
text
`)
	}
	return dir
}

func prepare(t testing.TB, dir string) {
	t.Helper()
	m, err := manifest.Open(filepath.Join(dir, "home"), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Build(m, plan.Request{Agent: "agent-39"}, plan.Host{
		LookupEnv: func(string) (string, bool) { return "x", true },
		Backends:  []backend.Facts{{Name: "native", Ready: true}},
		Skills:    os.DirFS(filepath.Join(dir, "skills")), SkillsPath: "/skills",
		ReadFile: os.ReadFile,
		Random:   rand.Reader,
	}); err != nil {
		t.Fatal(err)
	}
}

// TestPrepareIsQuick holds prepare to 20 ms for 50 agents and 50 bottles: of the processors' time,
// since what else the machine does meanwhile is not prepare's. That it waits for nothing shows in the
// time on the wall, which a busy machine stretches. One run in time is enough.
func TestPrepareIsQuick(t *testing.T) {
	dir := manyManifests(t)
	budget := 20 * time.Millisecond
	if raceEnabled {
		budget *= 10
	}
	best, wall := time.Hour, time.Hour
	for range 50 {
		start, used := time.Now(), processorTime(t)
		prepare(t, dir)
		best, wall = min(best, processorTime(t)-used), min(wall, time.Since(start))
		if best <= budget && wall <= 10*budget {
			return
		}
	}
	t.Errorf("prepare took %v of the processors and %v in all at best, the budget is %v", best, wall, budget)
}

// processorTime is what this process has used, its garbage collector included.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkPrepare(b *testing.B) {
	dir := manyManifests(b)
	for b.Loop() {
		prepare(b, dir)
	}
}
