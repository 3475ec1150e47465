package manifest

import (
	"fmt"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// Kind is what a manifest file describes.
type Kind string

// The kinds; each has a folder of its plural.
const (
	KindAgent  Kind = "agent"
	KindBottle Kind = "bottle"
)

// bottleKeys is the frontmatter of a bottle file. Its tags give the accepted keys, to the decoder
// and to the JSON Schema alike; "omitempty" marks a key that may be left out. The words about a key
// are in the table that lookup reads.
type bottleKeys struct {
	Extends   bottle.Name   `json:"extends,omitempty"`
	Provider  *providerKeys `json:"agent_provider,omitempty"`
	Env       envKeys       `json:"env,omitempty"`
	Git       *gitKeys      `json:"git-gate,omitempty"`
	Egress    *egressKeys   `json:"egress,omitempty"`
	Supervise *bool         `json:"supervise,omitempty"`
	Limits    Limits        `json:"limits,omitempty"`
	Runtime   runtimeName   `json:"runtime,omitempty"`
	DLP       *dlpKeys      `json:"dlp,omitempty"`
}

type providerKeys struct {
	Template   string   `json:"template,omitempty"`
	AuthToken  varName  `json:"auth_token,omitempty"`
	Command    []arg    `json:"command,omitempty"`
	Dockerfile hostPath `json:"dockerfile,omitempty"`
	Base       imageRef `json:"base,omitempty"`
	Forward    bool     `json:"forward_host_credentials,omitempty"`
}

type gitKeys struct {
	User  userKeys            `json:"user,omitempty"`
	Repos map[string]repoKeys `json:"repos,omitempty"`
}

type userKeys struct {
	Name  identity `json:"name,omitempty"`
	Email identity `json:"email,omitempty"`
}

type repoKeys struct {
	URL     repoURL `json:"url"`
	Key     string  `json:"key,omitempty"`
	HostKey string  `json:"host_key,omitempty"`
}

type egressKeys struct {
	Routes []routeKeys `json:"routes,omitempty"`
}

type routeKeys struct {
	Host     hostName      `json:"host"`
	Ports    []port        `json:"ports,omitempty"`
	Plain    bool          `json:"plain,omitempty"`
	Matches  []matchKeys   `json:"matches,omitempty"`
	Auth     *authKeys     `json:"auth,omitempty"`
	Upstream *upstreamKeys `json:"upstream,omitempty"`
	Networks []network     `json:"networks,omitempty"`
	DLP      *dlpKeys      `json:"dlp,omitempty"`
}

type matchKeys struct {
	Methods []method     `json:"methods,omitempty"`
	Paths   []pathKeys   `json:"paths,omitempty"`
	Headers []headerKeys `json:"headers,omitempty"`
}

type pathKeys struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type headerKeys struct {
	Name  token  `json:"name"`
	Value string `json:"value"`
}

type authKeys struct {
	Scheme   string  `json:"scheme"`
	TokenRef varName `json:"token_ref"`
}

type upstreamKeys struct {
	URL upstreamURL `json:"url"`
	CA  string      `json:"ca,omitempty"`
}

type dlpKeys struct {
	Outbound []string `json:"outbound_detectors,omitempty"`
	Inbound  []string `json:"inbound_detectors,omitempty"`
	OnMatch  string   `json:"outbound_on_match,omitempty"`
}

// agentKeys is the frontmatter of an agent file. The last six are a Claude Code sub-agent's own,
// accepted so that one file serves both programs.
type agentKeys struct {
	Bottle bottle.Name   `json:"bottle,omitempty"`
	Skills []bottle.Name `json:"skills,omitempty"`
	Git    *agentGitKeys `json:"git-gate,omitempty"`

	Name        any `json:"name,omitempty"`
	Description any `json:"description,omitempty"`
	Model       any `json:"model,omitempty"`
	Color       any `json:"color,omitempty"`
	Memory      any `json:"memory,omitempty"`
	Tools       any `json:"tools,omitempty"`
}

type agentGitKeys struct {
	User userKeys `json:"user,omitempty"`
}

// Limits are what a bottle declares; a nil field is not declared, a zero one means no limit.
type Limits struct {
	Memory *Size  `json:"memory,omitempty"`
	PIDs   *Count `json:"pids,omitempty"`
	CPUs   *Cores `json:"cpus,omitempty"`
	Disk   *Size  `json:"disk,omitempty"`
	Tmp    *Size  `json:"tmp,omitempty"`
}

// over returns the limits of l with those of child laid over them, field by field.
func (l Limits) over(child Limits) Limits {
	lay(&l.Memory, child.Memory)
	lay(&l.PIDs, child.PIDs)
	lay(&l.CPUs, child.CPUs)
	lay(&l.Disk, child.Disk)
	lay(&l.Tmp, child.Tmp)
	return l
}

func lay[T any](on **T, v *T) {
	if v != nil {
		*on = v
	}
}

// newKeys returns a pointer to an empty frontmatter of kind.
func newKeys(kind Kind) any {
	switch kind {
	case KindAgent:
		return new(agentKeys)
	case KindBottle:
		return new(bottleKeys)
	}
	panic(fmt.Sprintf("manifest: unknown kind %q", string(kind)))
}
