package launch

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/egress/inspect"
	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/scan/shape"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// inspector makes what looks into the bottle's traffic: for every secret that is held for it, for its
// canary, and for what credentials look like.
func (r *raising) inspector() (*inspect.Inspector, error) {
	held := r.boot.inputs().Secrets
	var (
		secrets []scan.Secret
		own     *shape.Rules
		err     error
	)
	for _, name := range slices.Sorted(maps.Keys(held)) {
		secrets = append(secrets, scan.Secret{Name: name, Value: held[name]})
	}
	for name, v := range r.canary.values() {
		secrets = append(secrets, scan.Secret{Name: name, Value: v, Canary: true})
	}
	if text := r.boot.Plan.DLP.Rules; text != "" {
		if own, err = shape.Parse([]byte(text), "dlp.rules"); err != nil {
			return nil, err
		}
	}
	scanner, err := inspect.NewScanner(secrets, own)
	if err != nil {
		return nil, err
	}
	if short := scanner.TooShort(); len(short) > 0 {
		r.report.Line(stepStart, fmt.Sprintf("too short to be looked for in what leaves: %s", strings.Join(short, ", ")))
	}
	echoes := make(map[string][]secret.Value, len(held))
	for _, route := range r.boot.Plan.Routes {
		if a := route.Auth; a != nil && echoes[a.Ref] == nil {
			echoes[a.Ref] = []secret.Value{held[a.Ref]}
			if a.Session != "" {
				echoes[a.Ref] = append(echoes[a.Ref], held[a.Session])
			}
		}
	}
	return inspect.New(inspect.Config{Scanner: scanner, Echoes: echoes}), nil
}
