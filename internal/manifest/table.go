package manifest

import (
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/policy"
)

// Key is what people are told about one key: by the schema, by docs/MANIFEST.md and by the hints
// of errors. This is the one table all three read.
type Key struct {
	// Path is the key's place, "[]" for the items of a list and "*" for names the author chooses:
	// "egress.routes[].host".
	Path string
	// Text is one or two sentences.
	Text string
	// Example is the key with a value, on one line of YAML.
	Example string
	// Default is what holds when the key is left out; empty when that is nothing.
	Default string
	// Values are the only accepted ones; nil when the values are not a closed set.
	Values []string
	// Empty says why an empty list is refused; empty when one is accepted.
	Empty string
	// Unbuilt marks a key that is understood and checked, and that this version can't enforce.
	Unbuilt bool
}

// hint is what an error about a missing key says.
func (k Key) hint() string {
	if k.Example == "" {
		return ""
	}
	return "for example: " + k.Example
}

const anyOf = "left out it means any, an empty list would mean none: leave the key out or name something"

var bottleTable = [...]Key{
	{Path: "extends", Text: "Another bottle whose settings this one starts from.", Example: "extends: base"},
	{Path: "agent_provider", Text: "The agent program. Declared, it replaces the parent's as a whole."},
	{Path: "agent_provider.template", Text: "Which program: Claude Code, Codex, or any command of the bottle's own system.",
		Example: "template: claude", Default: "claude", Values: []string{"claude", "codex", "shell"}},
	{Path: "agent_provider.auth_token", Text: "The host variable that holds the program's credential. Left out, the program's usual variables are tried, then what \"claude-bottle login\" stored.",
		Example: "auth_token: WORK_CLAUDE_TOKEN"},
	{Path: "agent_provider.command", Text: "For the shell template: the command to run, one list item an argument.",
		Example: "command: [make, test]", Default: "a login shell", Empty: "leave the key out to get a login shell"},
	{Path: "agent_provider.dockerfile", Text: "A Dockerfile the bottle's system is built from, on backends whose bottles have one of their own; its folder is the context. The agent program is laid over it.",
		Example: "dockerfile: ~/bottles/go/Dockerfile"},
	{Path: "agent_provider.base", Text: "The image the agent program is laid over, where there is no dockerfile.",
		Example: "base: node:22-slim", Default: "debian:12-slim"},
	{Path: "agent_provider.forward_host_credentials", Text: "Use the login the program itself has on this host.",
		Example: "forward_host_credentials: true", Default: "false", Unbuilt: true},
	{Path: "env", Text: "Variables of the agent's environment. Merged name by name, the child's value wins.", Example: "env: {CI: \"1\"}"},
	{Path: "env.*", Text: "Text as it is; \"${HOST_VAR}\" as the whole value copies a variable of the host; \"?\" or \"?question\" asks on the terminal at launch.",
		Example: "EDITOR: vim"},
	{Path: "git-gate", Text: "Git: who commits, and which repositories can be reached."},
	{Path: "git-gate.user", Text: "The identity git commits with. Merged field by field, an agent's own fields win."},
	{Path: "git-gate.user.name", Text: "The author's name.", Example: "name: Ada Lovelace"},
	{Path: "git-gate.user.email", Text: "The author's address.", Example: "email: ada@example.org"},
	{Path: "git-gate.repos", Text: "Repositories the bottle may fetch from and push to, by a name of your choice. Declared, it replaces the parent's as a whole; {} clears them.", Unbuilt: true},
	{Path: "git-gate.repos.*", Text: "One repository."},
	{Path: "git-gate.repos.*.url", Text: "Where it is: ssh:// or https://.", Example: "url: ssh://git@example.org/team/project.git"},
	{Path: "git-gate.repos.*.key", Text: "The private key file of the host that the gate uses.", Example: "key: ~/.ssh/project_ed25519"},
	{Path: "git-gate.repos.*.host_key", Text: "The server's public key; without it nothing is forwarded.", Example: "host_key: ssh-ed25519 AAAA..."},
	{Path: "egress", Text: "What the bottle can reach. Declared, it replaces the parent's as a whole; {} drops what the parent allows."},
	{Path: "egress.allow", Text: "What the agent may do, by capability: each is a preset, alone, with one word or with parameters. docs/POLICY.md lists them; presets of your own are files in presets/.",
		Example: "allow: [npm, {anthropic: inference}, {github: {repos: [acme/app], access: read}}]",
		Empty:   "to allow nothing leave egress out, or write \"egress: {}\" to drop what a parent allows"},
	{Path: "egress.routes", Text: "The rules. What no rule names is denied.", Example: "routes: [{host: docs.python.org}]",
		Empty: "to allow nothing leave egress out, or write \"egress: {}\" to drop what a parent allows"},
	{Path: "egress.routes[]", Text: "One rule."},
	{Path: "egress.routes[].host", Text: "A name, or \"*.\" and a suffix for every name below it.", Example: "host: docs.python.org"},
	{Path: "egress.routes[].ports", Text: "The TCP ports that may be connected to.", Example: "ports: [443]", Default: "443, and 80 with plain", Empty: anyOf},
	{Path: "egress.routes[].plain", Text: "Allow unencrypted HTTP too.", Example: "plain: true", Default: "false"},
	{Path: "egress.routes[].matches", Text: "Narrows the rule: a request must fit one of these entries.",
		Example: "matches: [{methods: [GET], paths: [{type: prefix, value: /v1}]}]", Default: "any request", Empty: anyOf},
	{Path: "egress.routes[].matches[]", Text: "One entry: everything it names must fit."},
	{Path: "egress.routes[].matches[].methods", Text: "HTTP methods, any one of them.", Example: "methods: [GET, HEAD]", Default: "any", Empty: anyOf},
	{Path: "egress.routes[].matches[].paths", Text: "Paths, any one of them.", Example: "paths: [{type: prefix, value: /v1}]", Default: "any", Empty: anyOf},
	{Path: "egress.routes[].matches[].paths[]", Text: "One path."},
	{Path: "egress.routes[].matches[].paths[].type", Text: "How to compare: by whole path elements from the start, exactly, or by a regular expression over the whole path.",
		Example: "type: prefix", Values: []string{"prefix", "exact", "regex"}},
	{Path: "egress.routes[].matches[].paths[].value", Text: "What to compare with.", Example: "value: /v1"},
	{Path: "egress.routes[].matches[].headers", Text: "Request headers, all of them.", Example: "headers: [{name: x-team, value: red}]", Default: "any", Empty: anyOf},
	{Path: "egress.routes[].matches[].headers[]", Text: "One header."},
	{Path: "egress.routes[].matches[].headers[].name", Text: "The header's name.", Example: "name: x-team"},
	{Path: "egress.routes[].matches[].headers[].value", Text: "Its exact value.", Example: "value: red"},
	{Path: "egress.routes[].auth", Text: "A credential put into each request outside the bottle. The bottle holds a worthless placeholder in a variable named as token_ref."},
	{Path: "egress.routes[].auth.scheme", Text: "How the credential is written into the request; aws-sigv4 signs the request with it instead.", Example: "scheme: Bearer",
		Values: policy.Schemes()},
	{Path: "egress.routes[].auth.token_ref", Text: "The host variable that holds the credential; with aws-sigv4 the secret key, AWS_SECRET_ACCESS_KEY or a name that ends so, beside which the variables with its ID and session token are found.", Example: "token_ref: GITHUB_TOKEN"},
	{Path: "egress.routes[].upstream", Text: "Connect here instead of to the host: a gateway, or a stand-in for tests."},
	{Path: "egress.routes[].upstream.url", Text: "Scheme, host and port.", Example: "url: https://gateway.example:8443"},
	{Path: "egress.routes[].upstream.ca", Text: "A PEM file its certificate is checked against instead of the host's authorities; absolute or beginning with ~/.", Example: "ca: ~/gateway-ca.pem"},
	{Path: "egress.routes[].networks", Text: "Private address ranges the host may turn out to be in. Without them only public addresses are connected to.",
		Example: "networks: [10.1.0.0/16]", Default: "public addresses only", Empty: "leave the key out to allow public addresses only"},
	{Path: "egress.routes[].passthrough", Text: "Carry TLS to the host as it is, for programs that pin its certificate. Nobody sees what is said inside: no matches, no auth, no scanning.",
		Example: "passthrough: true", Default: "false"},
	{Path: "egress.routes[].tcp", Text: "Carry any bytes to the host's ports, seen by nobody.", Example: "tcp: true", Default: "false"},
	{Path: "egress.routes[].dlp", Text: "Scanning of this rule's traffic. Field by field it wins over the bottle's dlp."},
	{Path: "egress.routes[].dlp.outbound_detectors", Text: outbound, Example: "outbound_detectors: [known_secrets, token_patterns]", Default: "all", Values: outboundDetectors, Empty: anyOf},
	{Path: "egress.routes[].dlp.inbound_detectors", Text: inbound, Example: "inbound_detectors: [echo]", Default: "all", Values: inboundDetectors, Empty: anyOf},
	{Path: "egress.routes[].dlp.outbound_on_match", Text: onMatch, Example: "outbound_on_match: redact", Default: onMatchDefault, Values: onMatchWords},
	{Path: "egress.routes[].dlp.injection", Text: injectionText, Example: "injection: block", Default: "warn", Values: injectionModes},
	{Path: "egress.routes[].dlp.allow", Text: allowText, Example: "allow: [generic-api-key]", Empty: "leave the key out to let nothing pass"},
	{Path: "egress.routes[].dlp.budget", Text: budgetText, Example: "budget: 64MiB", Default: "none"},
	{Path: "egress.tcp", Text: "Hosts any bytes may be carried to, by name and port, seen by nobody. For a private address write a rule with tcp and networks.",
		Example: "tcp: [\"db.example.org:5432\"]", Empty: "leave the key out"},
	{Path: "supervise", Text: "Let the agent ask its operator. The last one declared counts.", Example: "supervise: true", Default: "false", Unbuilt: true},
	{Path: "limits", Text: "How much of the host the bottle may use. Merged field by field. \"none\" lifts a limit."},
	{Path: "limits.memory", Text: "Memory and swap together.", Example: "memory: 8GiB", Default: "4GiB"},
	{Path: "limits.pids", Text: "Processes and threads.", Example: "pids: 2048", Default: "1024"},
	{Path: "limits.cpus", Text: "Processor time, in cores.", Example: "cpus: 1.5", Default: "none"},
	{Path: "limits.disk", Text: "What home and workspace hold together.", Example: "disk: 20GiB", Default: "10GiB"},
	{Path: "limits.tmp", Text: "What /tmp, /dev/shm and /run hold, each.", Example: "tmp: 512MiB", Default: "1GiB"},
	{Path: "runtime", Text: "The container runtime to insist on, by the name the engine has it registered under. The last one declared counts.",
		Example: "runtime: runsc", Default: "gVisor where the engine has it, else the engine's default"},
	{Path: "dlp", Text: "Scanning of all traffic. Declared, it replaces the parent's as a whole; a rule's own dlp wins over it field by field."},
	{Path: "dlp.outbound_detectors", Text: outbound, Example: "outbound_detectors: [known_secrets, token_patterns]", Default: "all", Values: outboundDetectors, Empty: anyOf},
	{Path: "dlp.inbound_detectors", Text: inbound, Example: "inbound_detectors: [echo]", Default: "all", Values: inboundDetectors, Empty: anyOf},
	{Path: "dlp.outbound_on_match", Text: onMatch, Example: "outbound_on_match: redact", Default: onMatchDefault, Values: onMatchWords},
	{Path: "dlp.injection", Text: injectionText, Example: "injection: block", Default: "warn", Values: injectionModes},
	{Path: "dlp.allow", Text: allowText, Example: "allow: [generic-api-key]", Empty: "leave the key out to let nothing pass"},
	{Path: "dlp.budget", Text: budgetText, Example: "budget: 64MiB", Default: "none"},
	{Path: "dlp.secrets", Text: "Host variables whose values must not leave the bottle, whatever it holds. The warden looks for them; nobody is shown them.",
		Example: "secrets: [DB_PASSWORD]", Empty: "leave the key out"},
	{Path: "dlp.rules", Text: "A file of your own credential shapes, in gitleaks' TOML; absolute or beginning with ~/.", Example: "rules: ~/.claude-bottle/shapes.toml"},
	{Path: "dlp.canary", Text: "Plant a worthless credential in the bottle that stops whatever carries it out.", Example: "canary: false", Default: "true"},
}

// What the dlp keys of a rule and of a bottle say alike.
const (
	outbound       = "What to look for in what leaves: the values the warden holds, what credentials look like, and names that look like data (which warns)."
	inbound        = "What to look for in what arrives: an injected credential that comes back, orders to a model, and invisible characters."
	onMatch        = "What to do with a request that carries a secret. supervise is another word for ask, and a launch that would ask is refused until asking exists."
	onMatchDefault = "block; redact in conversations with a model"
	injectionText  = "What to do with an answer that gives a model orders."
	allowText      = "What may be sent all the same: names of known secrets, IDs of credential shapes."
	budgetText     = "How many bytes may leave by a rule in the bottle's life."
)

var (
	outboundDetectors = []string{"known_secrets", "token_patterns", "entropy"}
	inboundDetectors  = []string{"echo", "injection", "invisible"}
	onMatchWords      = []string{"block", "redact", "ask", "supervise"}
	injectionModes    = []string{"off", "warn", "block"}
)

// presetTable is the keys of a preset: its parameters, and rules as a bottle's are.
var presetTable = func() []Key {
	out := []Key{
		{Path: "parameters", Text: "What a bottle that uses the preset has to say, by a name of your choice; {{name}} in a rule is where a value goes.", Example: "parameters: {project: {}}"},
		{Path: "parameters.*", Text: "One parameter. A bottle may give it several values: each rule that names it is there once for each."},
		{Path: "parameters.*.text", Text: "What it means, for people.", Example: "text: a project's name"},
		{Path: "parameters.*.values", Text: "The only accepted values.", Example: "values: [red, blue]", Default: "any word of letters, digits, '.', '_', '-' and single slashes", Empty: anyOf},
		{Path: "parameters.*.pattern", Text: "A regular expression that the whole of a value must fit.", Example: "pattern: \"[a-z]+\""},
		{Path: "parameters.*.default", Text: "The value when a bottle gives none.", Example: "default: main"},
	}
	for _, k := range bottleTable {
		if rest, ok := strings.CutPrefix(k.Path, "egress.routes"); ok {
			k.Path = "routes" + rest
			out = append(out, k)
		}
	}
	return out
}()

const subagent = "A Claude Code sub-agent's own key: accepted and ignored, so that one file serves both."

var agentTable = [...]Key{
	{Path: "bottle", Text: "The bottle this agent runs in unless --bottle names others.", Example: "bottle: default"},
	{Path: "skills", Text: "Skills to take along, folders of ~/.claude/skills.", Example: "skills: [code-review]"},
	{Path: "git-gate", Text: "Git settings of this agent."},
	{Path: "git-gate.user", Text: "The identity git commits with, laid over the bottle's field by field."},
	{Path: "git-gate.user.name", Text: "The author's name.", Example: "name: Ada Lovelace"},
	{Path: "git-gate.user.email", Text: "The author's address.", Example: "email: ada@example.org"},
	{Path: "name", Text: subagent},
	{Path: "description", Text: subagent + " Shown where agents are listed."},
	{Path: "model", Text: subagent},
	{Path: "color", Text: subagent},
	{Path: "memory", Text: subagent},
	{Path: "tools", Text: subagent},
}

// Keys lists the keys of kind in their order of presentation.
func Keys(kind Kind) []Key {
	switch kind {
	case KindAgent:
		return agentTable[:]
	case KindPreset:
		return presetTable
	}
	return bottleTable[:]
}

// lookup finds the key of that shape; the zero Key when there is none.
func lookup(kind Kind, shape string) Key {
	for _, k := range Keys(kind) {
		if k.Path == shape {
			return k
		}
	}
	return Key{}
}

// removed explains a key that earlier tools of this kind had, or that the other kind of file has;
// "" for any other key.
func removed(kind Kind, shape string) string {
	last := shape[strings.LastIndexByte(shape, '.')+1:]
	route := strings.HasPrefix(strings.TrimPrefix(shape, "egress."), "routes[].")
	switch {
	case kind == KindAgent && shape == "git-gate.repos":
		return "repositories belong to a bottle: they carry credentials and trust in a host"
	case kind == KindAgent && (shape == "env" || shape == "egress" || shape == "limits" || shape == "agent_provider" || shape == "supervise" || shape == "dlp" || shape == "extends" || shape == "runtime"):
		return "it belongs to a bottle, in bottles/<name>.md: an agent may come from a repository, a bottle never does"
	case shape == "ssh" || shape == "git":
		return "use git-gate.repos and git-gate.user"
	case shape == "git_user" || shape == "git-gate.git_user":
		return "use git-gate.user"
	case shape == "git-gate.remotes":
		return "use git-gate.repos"
	case shape == "cred_proxy":
		return "give the rule an auth: egress.routes with auth: {scheme, token_ref}"
	case shape == "egress.allowlist":
		return "use egress.allow for what the agent may do, or egress.routes with one host each"
	case shape == "egress.dlp_action" || route && last == "dlp_action":
		return "use dlp.outbound_on_match"
	case route && last == "role":
		return "what a program needs comes from agent_provider.template; a rule's credential from auth"
	case route && last == "path_allowlist":
		return "use matches: [{paths: [{type: prefix, value: /path}]}]"
	case route && last == "tls_passthrough":
		return "use passthrough"
	case route && last == "ssrf_ip_allowlist":
		return "use networks"
	case last == "pipelock" && (route || shape == "pipelock" || shape == "egress.pipelock"):
		return "use networks and dlp"
	case shape == "git-gate.repos.*.identity":
		return "use key"
	case shape == "git-gate.repos.*.provisioned_key":
		return "use key"
	}
	return ""
}
