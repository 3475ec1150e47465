package usage

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"
)

// rates are prices in micro-dollars for a million tokens.
type rates struct {
	input, output, cacheRead, cacheWrite, cacheWrite1h int64
}

// Price is what a model's tokens cost.
type Price struct {
	rates
	// long replaces the rates, for the whole answer, where the prompt has more tokens than longOver.
	// Zero longOver: the rates always hold.
	long     rates
	longOver int64
}

// Cost is what the tokens of one answer cost.
func (p *Price) Cost(t Tokens) Money {
	r := p.rates
	if p.longOver > 0 && t.Prompt() > p.longOver {
		r = p.long
	}
	hour := min(t.CacheWrite1h, t.CacheWrite)
	var sum int64
	// Counts of one answer and rates are bounded so that no product leaves the range.
	for _, x := range [...]struct{ tokens, rate int64 }{
		{t.Input, r.input},
		{t.CacheRead, r.cacheRead},
		{t.CacheWrite - hour, r.cacheWrite},
		{hour, r.cacheWrite1h},
		{t.Output, r.output},
	} {
		sum = plus(sum, min(max(x.tokens, 0), 2*maxCount)*x.rate)
	}
	return Money(sum)
}

// Prices finds models' prices by their names.
type Prices struct {
	tables []table // the first that knows a model decides
}

// table is one file's prices, by name or by beginning of a name.
type table struct {
	names    map[string]*Price
	prefixes map[string]*Price
}

//go:embed prices.yaml
var listPrices []byte

// listTable is what we bring along. Its mistakes are a test's to find.
var listTable = sync.OnceValue(func() table {
	t, err := parseTable("prices.yaml", listPrices)
	if err != nil {
		panic(err)
	}
	return t
})

// ListPrices returns the vendors' list prices that come with the program: see prices.yaml for their
// date.
func ListPrices() *Prices { return &Prices{[]table{listTable()}} }

// Override returns prices in which the models of an operator's file come before all others. The file
// is YAML, as prices.yaml is; name stands in errors, which tell every mistake with its line and
// column.
func (p *Prices) Override(name string, file []byte) (*Prices, error) {
	t, err := parseTable(name, file)
	if err != nil {
		return nil, err
	}
	return &Prices{append([]table{t}, p.tables...)}, nil
}

// Find returns the price of a model, nil when none is known. A name matches an entry of the same
// name, or one of which it is a dated version ("-20250929", "-2025-08-07", "-latest"), or one that
// ends in "*" and begins so; the longest wins.
func (p *Prices) Find(model string) *Price {
	for _, t := range p.tables {
		if price := t.find(model); price != nil {
			return price
		}
	}
	return nil
}

func (t table) find(model string) *Price {
	if model == "" {
		return nil
	}
	if p := t.names[model]; p != nil {
		return p
	}
	if p := t.names[undated(model)]; p != nil {
		return p
	}
	for n := len(model); n >= 0; n-- {
		if p := t.prefixes[model[:n]]; p != nil {
			return p
		}
	}
	return nil
}

// undated cuts the date off a model's name.
func undated(model string) string {
	if s, ok := strings.CutSuffix(model, "-latest"); ok {
		return s
	}
	end := len(model)
	digits := 0
	for end > 0 && (model[end-1] == '-' || '0' <= model[end-1] && model[end-1] <= '9') {
		end--
		if model[end] != '-' {
			digits++
		}
		if digits == 8 {
			break
		}
	}
	if digits == 8 && end > 0 && (model[end-1] == '-' || model[end-1] == '@') {
		return model[:end-1]
	}
	return model
}

// maxRate bounds a price, in micro-dollars for a million tokens: ten thousand dollars.
const maxRate = 10_000 * 1_000_000

// parseTable reads a file of prices and returns all its mistakes.
func parseTable(name string, file []byte) (table, error) {
	t := table{names: map[string]*Price{}, prefixes: map[string]*Price{}}
	if bare(file) {
		return t, nil
	}
	var root yaml.Node
	if err := yaml.Load(file, &root); err != nil {
		if le, ok := errors.AsType[*yaml.LoadError](err); ok && le.Mark.Line > 0 {
			return t, fmt.Errorf("%s:%d:%d: not valid YAML: %s", name, le.Mark.Line, max(1, le.Mark.Column), strings.TrimPrefix(strings.TrimSpace(le.Message), "yaml: "))
		}
		return t, fmt.Errorf("%s: not valid YAML: %w", name, err)
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 || root.Content[0].ShortTag() == "!!null" {
		return t, nil // "---" alone
	}
	r := priceReader{file: name}
	r.each(root.Content[0], "a model's name", func(key string, k, v *yaml.Node) {
		prefix, wild := strings.CutSuffix(key, "*")
		if prefix == "" || strings.Contains(prefix, "*") {
			r.fail(k, "%q is no model's name: write it whole, or its beginning and one * at the end", key)
			return
		}
		p := r.price(key, v)
		if wild {
			t.prefixes[prefix] = p
		} else {
			t.names[key] = p
		}
	})
	return t, errors.Join(r.errs...)
}

// bare reports whether a file holds comments alone, which YAML calls no document.
func bare(file []byte) bool {
	for line := range bytes.Lines(file) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}
