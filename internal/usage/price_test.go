package usage

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestListPricesAreWhole(t *testing.T) {
	t.Parallel()
	table := listTable() // panics on a mistake
	if len(table.names) < 30 {
		t.Errorf("%d models", len(table.names))
	}
	for name, p := range table.names {
		ok := 0 < p.cacheRead && p.cacheRead < p.input && p.input <= p.cacheWrite && p.cacheWrite <= p.cacheWrite1h && p.cacheWrite1h < p.output
		if p.longOver > 0 {
			ok = ok && p.long.input > p.input && p.long.output > p.output && p.long.cacheRead > p.cacheRead
		}
		if !ok {
			t.Errorf("%s: a price is out of line: %+v", name, *p)
		}
	}
}

const operators = `
# ours
claude-opus-4-5: {input: 1, output: 2}   # a contract
our-*: {input: 0.000001, output: 10000, cache_read: 0}
our-model-*:
  input: 3
  output: 4
`

func TestFindingPrices(t *testing.T) {
	t.Parallel()
	list := ListPrices()
	ours, err := list.Override("prices.yaml", []byte(operators))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model      string
		list, ours float64 // of input; -1 none
	}{
		{"claude-opus-4-5", 5, 1},
		{"claude-opus-4-5-20251101", 5, 1},
		{"claude-opus-4-5@20251101", 5, 1},
		{"claude-opus-4-1-20250805", 15, 15},
		{"claude-opus-4-20250514", 15, 15},
		{"claude-3-5-haiku-latest", 0.8, 0.8},
		{"gpt-5-2025-08-07", 1.25, 1.25},
		{"gpt-5-mini-2025-08-07", 0.25, 0.25},
		{"gpt-4o-mini", 0.15, 0.15},
		{"gpt-5-pro", -1, -1},  // not gpt-5's
		{"gpt-5-2025", -1, -1}, // no date
		{"claude-opus-4-9", -1, -1},
		{"20250514", -1, -1},
		{"our-model-7", -1, 3},
		{"our-thing", -1, 0.000001},
		{"my-our-thing", -1, -1},
		{"", -1, -1},
	} {
		for _, x := range []struct {
			prices *Prices
			want   float64
		}{{list, c.list}, {ours, c.ours}} {
			got := -1.0
			if p := x.prices.Find(c.model); p != nil {
				got = float64(p.input) / 1e6
			}
			if got != x.want {
				t.Errorf("%q: input costs %v, want %v", c.model, got, x.want)
			}
		}
	}
	if p := ours.Find("our-model-7"); p.cacheRead != 3e6 || p.cacheWrite != 3e6 || p.cacheWrite1h != 3e6 {
		t.Errorf("caches cost what the input costs where nothing is said: %+v", p.rates)
	}
	if p := ours.Find("our-thing"); p.cacheRead != 0 {
		t.Error("nothing is a price too")
	}
}

func TestCosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model  string
		tokens Tokens
		micro  int64
	}{
		{"claude-opus-4-5", Tokens{Input: 9, CacheRead: 18000, CacheWrite: 2100, CacheWrite1h: 100, Output: 412}, 45 + 9000 + 12500 + 1000 + 10300},
		{"gpt-5", Tokens{Input: 86, CacheRead: 1920, Output: 300, Reasoning: 128}, 108 + 240 + 3000}, // 107.5 rounded
		{"claude-haiku-5-5", Tokens{Input: 40_000, CacheRead: 60_000, Output: 1000}, 4000 + 600 + 500},
		{"claude-haiku-5-5", Tokens{Input: 40_001, CacheRead: 60_000, Output: 1000}, 20_001 + 3000 + 2500}, // 20000.5 rounded
		{"claude-opus-4-5", Tokens{}, 0},
		{"claude-opus-4-5", Tokens{Input: -5, CacheWrite: 1, CacheWrite1h: 9}, 10},
		{"gpt-4o", Tokens{Output: math.MaxInt64}, 2 * maxCount * 10},
	} {
		if got := ListPrices().Find(c.model).Cost(c.tokens).Micro(); got != c.micro {
			t.Errorf("%s: %+v cost %d, want %d", c.model, c.tokens, got, c.micro)
		}
	}
	dearest := rates{maxRate, maxRate, maxRate, maxRate, maxRate}
	if got := (&Price{rates: dearest}).Cost(Tokens{Input: maxCount, CacheRead: maxCount, CacheWrite: maxCount, Output: maxCount}); got < 4e18 {
		t.Errorf("the largest sum is %d", got)
	}
}

func TestMistakesInPrices(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, want string }{
		"several": {
			"gpt-x: {input: 1, outptu: 2}\nclaude-y:\n  input: \"3\"\n  output: -1\ngpt-x: {input: 1, output: 1}\n",
			`p.yaml:1:19: gpt-x: unknown key "outptu": use input, output, cache_read, cache_write, cache_write_1h or long_prompt
p.yaml:1:8: gpt-x: needs input and output, in dollars for a million tokens
p.yaml:3:10: claude-y: input: must be dollars for a million tokens, from 0 to 10000 with at most six decimals, as 2.50
p.yaml:4:11: claude-y: output: must be dollars for a million tokens, from 0 to 10000 with at most six decimals, as 2.50
p.yaml:5:1: "gpt-x" is there twice: remove one`,
		},
		"a list":     {"- a\n", "p.yaml:1:1: here belong lines that each begin with a model's name and a colon"},
		"a number":   {"m: 3\n", "p.yaml:1:4: here belong lines that each begin with input, output, cache_read, cache_write or cache_write_1h and a colon"},
		"everything": {"\"*\": {input: 1, output: 1}\n", `p.yaml:1:1: "*" is no model's name: write it whole, or its beginning and one * at the end`},
		"too dear":   {"m: {input: 10000.000001, output: 1}\n", "p.yaml:1:12: m: input: must be dollars for a million tokens, from 0 to 10000 with at most six decimals, as 2.50"},
		"too exact":  {"m: {input: 0.0000001, output: 1}\n", "p.yaml:1:12: m: input: must be dollars for a million tokens, from 0 to 10000 with at most six decimals, as 2.50"},
		"long": {
			"m: {input: 1, output: 1, long_prompt: {input: 1, output: 1}}\nn: {input: 1, output: 1, long_prompt: {over: 1.5, input: 1, output: 1}}\n",
			"p.yaml:1:39: m: long_prompt: says no over: the number of tokens in a prompt from which on it holds\np.yaml:2:46: n: over: must be a number of tokens, as 200000",
		},
		"no YAML": {"a: [\n", "p.yaml:2:1: not valid YAML: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ListPrices().Override("p.yaml", []byte(c.file))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
	for _, empty := range []string{"", "\n", "# nothing yet\n", "---\n"} {
		if _, err := ListPrices().Override("p.yaml", []byte(empty)); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func FuzzPrices(f *testing.F) {
	f.Add([]byte(operators))
	f.Add(listPrices)
	f.Add([]byte("a: &x {input: 1, output: 1}\nb: *x\n<<: *x\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		p, err := ListPrices().Override("p.yaml", file)
		if err != nil {
			return
		}
		if price := p.Find("our-model"); price != nil && price.Cost(Tokens{Input: maxCount, Output: maxCount}) < 0 {
			t.Errorf("%+v", price)
		}
	})
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]Money{
		"$0.00":       0,
		"<$0.0001":    1,
		"$0.0001":     100 * perMicro,
		"$0.0999":     99_900 * perMicro,
		"$0.10":       100_000 * perMicro,
		"$1.23":       1_234_999 * perMicro,
		"$2.00":       1_999_999 * perMicro,
		"$9223372.04": math.MaxInt64,
		"$0.1000":     99_999 * perMicro,
	} {
		if got := m.String(); got != want {
			t.Errorf("%d is %s, want %s", m, got, want)
		}
	}
	b, err := json.Marshal(map[string]Money{"m": 1_500_000})
	if err != nil || string(b) != `{"m":2}` {
		t.Errorf("%s, %v", b, err)
	}
	var m Money
	if err := json.Unmarshal([]byte("2"), &m); err != nil || m != 2*perMicro {
		t.Errorf("%d, %v", m, err)
	}
	for _, bad := range []string{"-1", "1.5", `"1"`, "9999999999999999"} {
		if err := json.Unmarshal([]byte(bad), &m); err == nil {
			t.Errorf("%s is read as %d", bad, m)
		}
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	m := NewMeter(ListPrices())
	done := make(chan bool)
	for range 4 {
		go func() {
			for range 100 {
				m.Add(Sample{Host: "api.anthropic.com", Requests: 1, BytesOut: 10, BytesIn: 20, Usage: Usage{Model: "claude-opus-4-5", Tokens: Tokens{Input: 1, Output: 2}}})
				m.Add(Sample{Host: "api.anthropic.com", Requests: 1, Usage: Usage{Model: "new", Tokens: Tokens{Output: 1}}})
				m.Add(Sample{Host: "api.anthropic.com", Requests: 1, Usage: Usage{Model: "mute"}})
				m.Add(Sample{Host: "registry.npmjs.org", Requests: 3, BytesIn: 5})
			}
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
	want := []Row{
		{"api.anthropic.com", "claude-opus-4-5", Totals{Requests: 400, BytesOut: 4000, BytesIn: 8000, Tokens: Tokens{Input: 400, Output: 800}, Cost: 22_000 * perMicro}},
		{"api.anthropic.com", "mute", Totals{Requests: 400, Silent: 400}},
		{"api.anthropic.com", "new", Totals{Requests: 400, Tokens: Tokens{Output: 400}, Unpriced: 400}},
		{"registry.npmjs.org", "", Totals{Requests: 1200, BytesIn: 2000}},
	}
	if d := cmp.Diff(want, m.Snapshot()); d != "" {
		t.Error(d)
	}
}

func TestAMeterTellsOnlySoManyApart(t *testing.T) {
	t.Parallel()
	m := NewMeter(ListPrices())
	for i := range 3 * maxHosts {
		m.Add(Sample{Host: strings.Repeat("h", i+1), Requests: 1, BytesIn: math.MaxInt64 / 2, Usage: Usage{Model: strings.Repeat("m", i), Tokens: Tokens{Input: 1}}})
	}
	hosts, models := map[string]bool{}, map[string]bool{}
	var all Totals
	for _, r := range m.Snapshot() {
		hosts[r.Host], models[r.Model] = true, true
		all.Add(r.Totals)
	}
	if len(hosts) != maxHosts+1 || len(models) != maxModels+1 || !hosts[Other] || !models[Other] {
		t.Errorf("%d hosts, %d models", len(hosts), len(models))
	}
	if all.Requests != 3*maxHosts || all.BytesIn != math.MaxInt64 {
		t.Errorf("%+v", all)
	}
}
