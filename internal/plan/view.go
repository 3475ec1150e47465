package plan

import "slices"

// Hosts lists the hosts the bottle can reach, in the order of their rules, each once.
func (p Plan) Hosts() []string {
	var out []string
	for _, r := range p.Routes {
		if h := r.Host.String(); !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// EnvNames lists the names of the manifest's variables, in their written order.
func (p Plan) EnvNames() []string {
	out := make([]string, len(p.Env))
	for i, e := range p.Env {
		out[i] = e.Name
	}
	return out
}

// Placeholders are the worthless credentials the bottle holds, by variable.
func (p Plan) Placeholders() map[string]string {
	out := make(map[string]string, len(p.Secrets))
	for _, s := range p.Secrets {
		if s.As != "" {
			out[s.As] = s.Placeholder
		}
	}
	return out
}

// Stops lists the notes that forbid a launch.
func (p Plan) Stops() []Note {
	var out []Note
	for _, n := range p.Notes {
		if n.Level == Stop {
			out = append(out, n)
		}
	}
	return out
}
