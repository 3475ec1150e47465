package native

import (
	"fmt"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/cork/leak"
)

// report is the evidence of what was reached.
func (s *start) report(r report) backend.Report {
	out := backend.Report{
		Backend: Name, Namespaces: namespaces(), Landlock: r.Landlock, Seccomp: !leak.On("no-seccomp"),
		CorkUID: uint32(s.owner.corkUID), AgentUID: uint32(s.owner.agentUID),
		Notes: slices.Concat(s.group.Notes, r.Notes),
	}
	if r.Landlock == 0 {
		out.Notes = append(out.Notes, "this kernel has no Landlock: mounts and seccomp stand without their second layer")
	}
	l := s.spec.Limits
	for _, c := range []string{"memory", "pids", "cpu"} {
		if by := s.group.Enforced[c]; by != "" {
			out.Limits = append(out.Limits, fmt.Sprintf("%s: %s", c, by))
		}
	}
	if l.PIDs > 0 && s.group.Enforced["pids"] == "" {
		out.Limits = append(out.Limits, "pids: rlimit")
	}
	if l.Disk > 0 {
		out.Limits = append(out.Limits, "disk: meter")
	}
	if l.Tmp > 0 {
		out.Limits = append(out.Limits, "tmp: tmpfs")
	}
	return out
}
