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
	KindPreset Kind = "preset" // a capability of the operator's own
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
	Allow  []presetUse `json:"allow,omitempty"`
	Routes []routeKeys `json:"routes,omitempty"`
	TCP    []hostPort  `json:"tcp,omitempty"`
}

type routeKeys struct {
	Host        hostName      `json:"host"`
	Ports       []port        `json:"ports,omitempty"`
	Plain       bool          `json:"plain,omitempty"`
	Matches     []matchKeys   `json:"matches,omitempty"`
	Auth        *authKeys     `json:"auth,omitempty"`
	Upstream    *upstreamKeys `json:"upstream,omitempty"`
	Networks    []network     `json:"networks,omitempty"`
	Passthrough bool          `json:"passthrough,omitempty"`
	TCP         bool          `json:"tcp,omitempty"`
	DLP         *scanKeys     `json:"dlp,omitempty"`
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

// scanKeys configure the scanner on one rule.
type scanKeys struct {
	Outbound  []string `json:"outbound_detectors,omitempty"`
	Inbound   []string `json:"inbound_detectors,omitempty"`
	OnMatch   string   `json:"outbound_on_match,omitempty"`
	Injection string   `json:"injection,omitempty"`
	Allow     []arg    `json:"allow,omitempty"`
	Budget    *Size    `json:"budget,omitempty"`
}

// dlpKeys are scanKeys for all rules of a bottle, and what belongs to the bottle as a whole.
type dlpKeys struct {
	Outbound  []string  `json:"outbound_detectors,omitempty"`
	Inbound   []string  `json:"inbound_detectors,omitempty"`
	OnMatch   string    `json:"outbound_on_match,omitempty"`
	Injection string    `json:"injection,omitempty"`
	Allow     []arg     `json:"allow,omitempty"`
	Budget    *Size     `json:"budget,omitempty"`
	Secrets   []varName `json:"secrets,omitempty"`
	Rules     hostPath  `json:"rules,omitempty"`
	Canary    *bool     `json:"canary,omitempty"`
}

// scan are the keys that a rule's own win over.
func (k *dlpKeys) scan() *scanKeys {
	return &scanKeys{k.Outbound, k.Inbound, k.OnMatch, k.Injection, k.Allow, k.Budget}
}

// presetKeys is the frontmatter of a preset file.
type presetKeys struct {
	Parameters map[string]paramKeys `json:"parameters,omitempty"`
	Routes     []routeKeys          `json:"routes"`
}

type paramKeys struct {
	Text    string `json:"text,omitempty"`
	Values  []arg  `json:"values,omitempty"`
	Pattern regex  `json:"pattern,omitempty"`
	Default string `json:"default,omitempty"`
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
	case KindPreset:
		return new(presetKeys)
	}
	panic(fmt.Sprintf("manifest: unknown kind %q", string(kind)))
}
