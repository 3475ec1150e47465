package usage

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// priceReader reads YAML and gathers what is wrong with it.
type priceReader struct {
	file string
	errs []error
}

func (r *priceReader) fail(n *yaml.Node, format string, a ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s:%d:%d: %s", r.file, n.Line, n.Column, fmt.Sprintf(format, a...)))
}

// each calls f for every pair of a mapping. Keys are text that stands there once.
func (r *priceReader) each(n *yaml.Node, what string, f func(key string, k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "here belong lines that each begin with %s and a colon", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge":
			r.fail(k, "here belongs %s", what)
		case seen[k.Value]:
			r.fail(k, "%q is there twice: remove one", k.Value)
		default:
			seen[k.Value] = true
			f(k.Value, k, v)
		}
	}
}

// price reads one model's entry. What a cache costs more or less is the input's price where nothing
// is said, and an hour's writes cost what others do.
func (r *priceReader) price(model string, n *yaml.Node) *Price {
	p := &Price{}
	var long *yaml.Node
	p.rates = r.rates(model, n, func(key string, v *yaml.Node) bool {
		if key == "long_prompt" {
			long = v
		}
		return key == "long_prompt"
	})
	if long == nil {
		return p
	}
	p.long = r.rates(model+": long_prompt", long, func(key string, v *yaml.Node) bool {
		if key == "over" {
			over, ok := decimal(v, 0)
			if !ok || over == 0 || over > maxCount {
				r.fail(v, "%s: over: must be a number of tokens, as 200000", model)
			}
			p.longOver = over
		}
		return key == "over"
	})
	if p.longOver == 0 && long.Kind == yaml.MappingNode {
		r.fail(long, "%s: long_prompt: says no over: the number of tokens in a prompt from which on it holds", model)
	}
	return p
}

// rates reads a mapping of prices; more takes the keys that are none.
func (r *priceReader) rates(what string, n *yaml.Node, more func(key string, v *yaml.Node) bool) rates {
	var p rates
	fields := map[string]*int64{
		"input": &p.input, "output": &p.output,
		"cache_read": &p.cacheRead, "cache_write": &p.cacheWrite, "cache_write_1h": &p.cacheWrite1h,
	}
	given := map[string]bool{}
	r.each(n, "input, output, cache_read, cache_write or cache_write_1h", func(key string, k, v *yaml.Node) {
		field := fields[key]
		if field == nil {
			if !more(key, v) {
				r.fail(k, "%s: unknown key %q: use input, output, cache_read, cache_write, cache_write_1h or long_prompt", what, key)
			}
			return
		}
		rate, ok := decimal(v, 6)
		if !ok || rate > maxRate {
			r.fail(v, "%s: %s: must be dollars for a million tokens, from 0 to %d with at most six decimals, as 2.50", what, key, maxRate/1_000_000)
		}
		*field, given[key] = rate, true
	})
	if n.Kind == yaml.MappingNode && (!given["input"] || !given["output"]) {
		r.fail(n, "%s: needs input and output, in dollars for a million tokens", what)
	}
	for _, f := range []struct {
		key  string
		from int64
	}{{"cache_read", p.input}, {"cache_write", p.input}} {
		if !given[f.key] {
			*fields[f.key] = f.from
		}
	}
	if !given["cache_write_1h"] {
		p.cacheWrite1h = p.cacheWrite
	}
	return p
}

// decimal reads a plain number exactly, as so many units of 10^-places.
func decimal(n *yaml.Node, places int) (int64, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" {
		return 0, false
	}
	whole, part, _ := strings.Cut(n.Value, ".")
	digits := whole + part
	if whole == "" || len(part) > places || len(whole) > 9 {
		return 0, false
	}
	digits += strings.Repeat("0", places-len(part))
	var v int64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	return v, true
}
