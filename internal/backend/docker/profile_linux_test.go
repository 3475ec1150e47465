package docker

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestSystemCallsAreFilteredByOurProfileOnDockerAndItsOwnOnPodman(t *testing.T) {
	t.Parallel()
	_, h := configs(t, aShape(t))
	if len(h.SecurityOpt) != 2 {
		t.Fatalf("%q", h.SecurityOpt)
	}
	text, ok := strings.CutPrefix(h.SecurityOpt[1], "seccomp=")
	var filter struct {
		DefaultAction string `json:"defaultAction"`
		Syscalls      []struct {
			Names  []string `json:"names"`
			Action string   `json:"action"`
		} `json:"syscalls"`
	}
	if err := json.Unmarshal([]byte(text), &filter); err != nil || !ok {
		t.Fatalf("%v: %.200q", err, h.SecurityOpt[1])
	}
	if filter.DefaultAction != "SCMP_ACT_ERRNO" {
		t.Errorf("what is not listed: %s", filter.DefaultAction)
	}
	if !slices.ContainsFunc(filter.Syscalls, func(s struct {
		Names  []string `json:"names"`
		Action string   `json:"action"`
	}) bool {
		return s.Action == "SCMP_ACT_ALLOW" && slices.Contains(s.Names, "landlock_restrict_self")
	}) {
		t.Error("cork may not use Landlock")
	}
	_, h = configs(t, aShape(t, podman))
	if slices.ContainsFunc(h.SecurityOpt, func(o string) bool { return strings.HasPrefix(o, "seccomp") }) {
		t.Errorf("on Podman: %q", h.SecurityOpt)
	}
}
