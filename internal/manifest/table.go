package manifest

import "strings"

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
	{Path: "egress.routes[].auth.scheme", Text: "How the credential is written into the request.", Example: "scheme: Bearer",
		Values: []string{"Bearer", "token", "Basic", "x-api-key"}},
	{Path: "egress.routes[].auth.token_ref", Text: "The host variable that holds the credential.", Example: "token_ref: GITHUB_TOKEN"},
	{Path: "egress.routes[].upstream", Text: "Connect here instead of to the host: a gateway, or a stand-in for tests."},
	{Path: "egress.routes[].upstream.url", Text: "Scheme, host and port.", Example: "url: https://gateway.example:8443"},
	{Path: "egress.routes[].upstream.ca", Text: "A PEM file its certificate is checked against instead of the host's authorities; absolute or beginning with ~/.", Example: "ca: ~/gateway-ca.pem"},
	{Path: "egress.routes[].networks", Text: "Private address ranges the host may turn out to be in. Without them only public addresses are connected to.",
		Example: "networks: [10.1.0.0/16]", Default: "public addresses only", Empty: "leave the key out to allow public addresses only"},
	{Path: "egress.routes[].dlp", Text: "Scanning of this rule's traffic.", Unbuilt: true},
	{Path: "egress.routes[].dlp.outbound_detectors", Text: "What to look for in what leaves.", Default: "all", Empty: anyOf},
	{Path: "egress.routes[].dlp.inbound_detectors", Text: "What to look for in what arrives.", Default: "all", Empty: anyOf},
	{Path: "egress.routes[].dlp.outbound_on_match", Text: "What to do with a finding.", Values: []string{"block", "redact", "supervise"}},
	{Path: "supervise", Text: "Let the agent ask its operator. The last one declared counts.", Example: "supervise: true", Default: "false", Unbuilt: true},
	{Path: "limits", Text: "How much of the host the bottle may use. Merged field by field. \"none\" lifts a limit."},
	{Path: "limits.memory", Text: "Memory and swap together.", Example: "memory: 8GiB", Default: "4GiB"},
	{Path: "limits.pids", Text: "Processes and threads.", Example: "pids: 2048", Default: "1024"},
	{Path: "limits.cpus", Text: "Processor time, in cores.", Example: "cpus: 1.5", Default: "none"},
	{Path: "limits.disk", Text: "What home and workspace hold together.", Example: "disk: 20GiB", Default: "10GiB"},
	{Path: "limits.tmp", Text: "What /tmp, /dev/shm and /run hold, each.", Example: "tmp: 512MiB", Default: "1GiB"},
	{Path: "runtime", Text: "The container runtime to insist on, by the name the engine has it registered under. The last one declared counts.",
		Example: "runtime: runsc", Default: "gVisor where the engine has it, else the engine's default"},
	{Path: "dlp", Text: "Scanning of all traffic. Declared, it replaces the parent's as a whole.", Unbuilt: true},
	{Path: "dlp.outbound_detectors", Text: "What to look for in what leaves.", Default: "all", Empty: anyOf},
	{Path: "dlp.inbound_detectors", Text: "What to look for in what arrives.", Default: "all", Empty: anyOf},
	{Path: "dlp.outbound_on_match", Text: "What to do with a finding.", Values: []string{"block", "redact", "supervise"}},
}

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
	if kind == KindAgent {
		return agentTable[:]
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
	route := strings.HasPrefix(shape, "egress.routes[].")
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
		return "use egress.routes with one host each"
	case shape == "egress.dlp_action" || route && last == "dlp_action":
		return "use dlp.outbound_on_match"
	case route && last == "role":
		return "what a program needs comes from agent_provider.template; a rule's credential from auth"
	case route && last == "path_allowlist":
		return "use matches: [{paths: [{type: prefix, value: /path}]}]"
	case route && last == "tls_passthrough":
		return "traffic is never passed on unread"
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
