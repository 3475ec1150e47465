package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/state"
	"github.com/claude-bottle/claude-bottle/internal/usage"
)

// household is a home folder with bottles in it.
type household struct {
	t     *testing.T
	home  string
	store *state.Store
}

func newHousehold(t *testing.T) *household {
	t.Helper()
	home := t.TempDir()
	store, err := state.Open(filepath.Join(home, "state"))
	if err != nil {
		t.Fatal(err)
	}
	return &household{t, home, store}
}

// bottle makes one that did what events say, and lives while the test does unless it has ended.
func (h *household) bottle(id string, ended bool, events ...audit.Event) *state.Dir {
	h.t.Helper()
	m := state.Metadata{Backend: "native", State: bottle.Running, Started: time.Now()}
	if ended {
		m.State = bottle.Stopped
	}
	var err error
	if m.ID, err = bottle.ParseID(id); err != nil {
		h.t.Fatal(err)
	}
	if m.Agent, err = bottle.ParseName("coder"); err != nil {
		h.t.Fatal(err)
	}
	dir, err := h.store.Create(m)
	if err != nil {
		h.t.Fatal(err)
	}
	if !ended {
		lock, err := dir.Lock(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(lock.Release)
	}
	log, err := audit.Open(dir.Path(state.AuditFile), id)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range events {
		log.Append(e)
	}
	if err := log.Close(); err != nil {
		h.t.Fatal(err)
	}
	return dir
}

// run runs one verb and returns what it wrote.
func (h *household) run(verb func(*app) *cobra.Command, args ...string) (stdout, stderr string, err error) {
	h.t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(h.t.TempDir(), "out")
		if err != nil {
			h.t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	a := &app{homeFlag: h.home, sys: &System{
		Stdout: files[0], Stderr: files[1],
		LookupEnv: func(string) (string, bool) { return "", false },
		WorkDir:   func() (string, error) { return h.home, nil },
	}}
	cmd := verb(a)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(h.t.Context())
	var texts [2]string
	for i, f := range files {
		b, readErr := os.ReadFile(f.Name())
		if readErr != nil {
			h.t.Fatal(readErr)
		}
		texts[i] = strings.ReplaceAll(string(b), h.home, "HOME")
	}
	return texts[0], texts[1], err
}

var noon = func() time.Time {
	y, m, d := time.Now().Date()
	return time.Date(y, m, d, 12, 0, 0, 0, time.Local)
}()

func asked(at time.Time, model string, in, cached, out int64) audit.Event {
	return audit.Event{
		Time: at, Kind: audit.KindRequest, Via: audit.ViaConnect, Verdict: "allow", Host: "api.anthropic.com", Port: 443, Method: "POST", Path: "/v1/messages", Status: 200,
		BytesOut: 2048, BytesIn: 1024, Model: model, TokensIn: in, TokensCacheRead: cached, TokensOut: out,
	}
}

func fetched(at time.Time, host, verdict string) audit.Event {
	return audit.Event{Time: at, Kind: audit.KindRequest, Verdict: verdict, Host: host, Port: 443, Method: "GET", Path: "/", BytesIn: 1 << 20}
}

// busy is a household of two running bottles and one that ended the day before.
func busy(t *testing.T) *household {
	h := newHousehold(t)
	yesterday := noon.AddDate(0, 0, -1)
	h.bottle("coder-aaaaa", false,
		fetched(noon, "self.test", "allow"),
		audit.Event{Time: noon, Kind: audit.KindSelfTest, Verdict: "allow"},
		asked(noon, "claude-opus-4-5-20251101", 1000, 200_000, 3000),
		asked(noon, "claude-opus-4-5-20251101", 500, 0, 0),
		asked(noon, "claude-haiku-4-5", 10, 0, 10),
		fetched(noon, "registry.npmjs.org", "allow"),
		fetched(noon, "evil.test", "deny"),
		audit.Event{Time: noon, Kind: audit.KindDNS, Via: audit.ViaDNS, Verdict: "allow", Host: "api.anthropic.com"},
		audit.Event{Time: noon, Kind: audit.KindDropped, Verdict: "allow", Host: "registry.npmjs.org", Count: 40, BytesIn: 4096},
		audit.Event{Time: noon, Kind: audit.KindDropped, Verdict: "deny", Host: "evil.test", Count: 1000, TokensIn: 1},
	)
	h.bottle("coder-bbbbb", false, asked(noon, "\x1b[31mgpt-new", 7, 0, 7), asked(noon, "mute", 0, 0, 0))
	h.bottle("coder-ccccc", true, asked(yesterday, "gpt-5-2025-08-07", 1_000_000, 0, 100_000))
	return h
}

func TestUsageTables(t *testing.T) {
	t.Parallel()
	h := busy(t)
	for _, c := range []struct {
		args   string
		stdout string
		stderr string
	}{
		{
			"", `
BOTTLE       MODEL                     REQUESTS     UP     DOWN   INPUT  CACHED  OUTPUT     COST
coder-aaaaa  -                               41    0 B    1 MiB       -       -       -        -
coder-aaaaa  claude-haiku-4-5                 1  2 KiB    1 KiB      10       0      10  $0.0001
coder-aaaaa  claude-opus-4-5-20251101         2  4 KiB    2 KiB  201.5k    200k    3000    $0.18
coder-bbbbb  \x1b[31mgpt-new                  1  2 KiB    1 KiB       7       0       7        ?
coder-bbbbb  mute                             1  2 KiB    1 KiB       -       -       -        -
total                                        46 10 KiB    1 MiB  201.5k    200k    3017   $0.18+
`,
			`no price is known for \x1b[31mgpt-new: cost lacks it; give one in HOME/prices.yaml
some answers of mute told no tokens: they are counted as requests alone
`,
		},
		{
			"--all --by day", `
DAY         REQUESTS     UP   DOWN   INPUT  CACHED  OUTPUT    COST
` + noon.AddDate(0, 0, -1).Format(time.DateOnly) + `         1  2 KiB  1 KiB      1M       0    100k   $2.25
` + noon.Format(time.DateOnly) + `        46 10 KiB  1 MiB  201.5k    200k    3017  $0.18+
total             47 12 KiB  1 MiB    1.2M    200k    103k  $2.43+
`, "",
		},
		{
			"coder-a --by host", `
HOST                REQUESTS     UP     DOWN   INPUT  CACHED  OUTPUT   COST
api.anthropic.com          3  6 KiB    3 KiB  201.5k    200k    3010  $0.18
other                     40    0 B    4 KiB       -       -       -      -
registry.npmjs.org         1    0 B    1 MiB       -       -       -      -
total                     44  6 KiB    1 MiB  201.5k    200k    3010  $0.18
`, "",
		},
		{
			"--by model coder-ccccc", `
MODEL             REQUESTS     UP   DOWN  INPUT  CACHED  OUTPUT   COST
gpt-5-2025-08-07         1  2 KiB  1 KiB     1M       0    100k  $2.25
`, "",
		},
		{"coder-ccccc --since 1h", "", "nothing was sent yet by coder-ccccc in the last 1h\n"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, err := h.run((*app).usageCommand, strings.Fields(c.args)...)
			if err != nil {
				t.Fatal(err)
			}
			squeeze := func(s string) string { // what is aligned is looked at elsewhere
				var b strings.Builder
				for line := range strings.Lines(s) {
					b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
				}
				return b.String()
			}
			if d := cmp.Diff(squeeze(strings.TrimPrefix(c.stdout, "\n")), squeeze(stdout)); d != "" {
				t.Errorf("%s\n%s", d, stdout)
			}
			if c.stderr != "" && stderr != c.stderr {
				t.Errorf("standard error: %s", cmp.Diff(c.stderr, stderr))
			}
		})
	}
}

func TestUsageColumnsLineUp(t *testing.T) {
	t.Parallel()
	stdout, _, err := busy(t).run((*app).usageCommand, "--all")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	for i, l := range lines {
		if len(l) != len(lines[0]) { // the last column stands to the right
			t.Errorf("line %d:\n%s", i, stdout)
		}
	}
}

func TestUsageAsJSON(t *testing.T) {
	t.Parallel()
	stdout, _, err := busy(t).run((*app).usageCommand, "--json", "--by", "bottle", "--all")
	if err != nil {
		t.Fatal(err)
	}
	var got usageReport
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 3 || got.Rows[0].Cost.Micro() != 182_560 || got.Rows[1].Unpriced != 1 || got.Rows[2].Tokens != (usage.Tokens{Input: 1_000_000, Output: 100_000}) {
		t.Errorf("%+v", got.Rows)
	}
	if got.Total.Cost.Micro() != 182_560+2_250_000 || got.Total.BytesIn != 1<<20+4096+6*1024 {
		t.Errorf("%+v", got.Total)
	}
	empty, _, err := newHousehold(t).run((*app).usageCommand, "--json")
	if err != nil || !strings.Contains(empty, `"rows": []`) {
		t.Errorf("%s, %v", empty, err)
	}
}

func TestUsageOfNothing(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	for _, c := range []struct {
		make func()
		want string
	}{
		{func() {}, "no bottles; start one with: claude-bottle start\n"},
		{func() { h.bottle("coder-ccccc", true) }, "no bottle is running; 1 ended one is kept (claude-bottle usage --all)\n"},
		{func() { h.bottle("coder-aaaaa", false) }, "nothing was sent yet by coder-aaaaa\n"},
	} {
		c.make()
		stdout, stderr, err := h.run((*app).usageCommand)
		if err != nil || stdout != "" || stderr != c.want {
			t.Errorf("%q, %q, %v; want %q", stdout, stderr, err, c.want)
		}
	}
}

func TestUsageMistakes(t *testing.T) {
	t.Parallel()
	h := busy(t)
	for args, want := range map[string]struct {
		code int
		msg  string
	}{
		"--since yesterday":   {exitUsage, `--since "yesterday" is no span of time`},
		"--since -1h":         {exitUsage, `--since "-1h" is no span of time`},
		"--since 0d":          {exitUsage, `--since "0d" is no span of time`},
		"--by hots":           {exitUsage, `unknown --by "hots"`},
		"--all coder-aaaaa":   {exitUsage, "name bottles, or say --all"},
		"nobody":              {exitNotFound, `there is no bottle "nobody"`},
		"coder-aaaaa nobody":  {exitNotFound, `there is no bottle "nobody"`},
		"coder-aaaaa coder-a": {exitOK, ""},
	} {
		_, _, err := h.run((*app).usageCommand, strings.Fields(args)...)
		if exitCode(err) != want.code || err != nil && err.Error() != want.msg {
			t.Errorf("%s: %v, code %d", args, err, exitCode(err))
		}
	}
}

func TestOperatorsPrices(t *testing.T) {
	t.Parallel()
	h := busy(t)
	prices := filepath.Join(h.home, pricesFile)
	for _, c := range []struct{ file, cost, fails string }{
		{"claude-opus-4-5: {input: 100, output: 0}\n\"*gpt\": {}\n", "", "HOME/prices.yaml:2:1: "},
		{"claude-opus-4-5: {input: 100, output: 0, cache_read: 0}\n", "$0.15", ""},
	} {
		if err := os.WriteFile(prices, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout, _, err := h.run((*app).usageCommand, "coder-aaaaa", "--by", "bottle")
		switch {
		case c.fails != "":
			if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), h.home, "HOME"), c.fails) || len(hints(err)) == 0 {
				t.Errorf("%v", err)
			}
		case err != nil || !strings.Contains(stdout, c.cost):
			t.Errorf("%v\n%s", err, stdout)
		}
	}
}

// A log that somebody spoilt keeps the others' numbers from nobody, and is told.
func TestASpoiltLog(t *testing.T) {
	t.Parallel()
	h := busy(t)
	dir := h.bottle("coder-ddddd", false, asked(noon, "gpt-5", 5, 0, 5))
	f, err := os.OpenFile(dir.Path(state.AuditFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("gone\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	stdout, _, err := h.run((*app).usageCommand, "--by", "bottle")
	if err == nil || !strings.Contains(err.Error(), "audit.jsonl: audit line 2 is no event") || exitCode(err) != exitError {
		t.Errorf("%v", err)
	}
	for _, id := range []string{"coder-aaaaa", "coder-bbbbb", "coder-ddddd"} {
		if !strings.Contains(stdout, id) {
			t.Errorf("no %s:\n%s", id, stdout)
		}
	}
}

// A log goes on over several files. What --since leaves out whole is not read.
func TestUsageReadsAllSegments(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	dir := h.bottle("coder-aaaaa", false, fetched(noon, "self.test", "allow"), audit.Event{Time: noon, Kind: audit.KindSelfTest, Verdict: "allow"}, asked(noon, "gpt-5", 1, 0, 0))
	path := dir.Path(state.AuditFile)
	for n := 1; n <= 2; n++ {
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, n)); err != nil {
			t.Fatal(err)
		}
		log, err := audit.Open(path, "coder-aaaaa")
		if err != nil {
			t.Fatal(err)
		}
		log.Append(asked(time.Now(), "gpt-5", 10, 0, 0))
		if n == 2 {
			log.Append(audit.Event{Kind: audit.KindSelfTest, Verdict: "allow"}) // a later one wipes nothing out
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().AddDate(0, 0, -9)
	if err := os.Chtimes(path+".1", old, old); err != nil {
		t.Fatal(err)
	}
	for since, want := range map[time.Time]int64{{}: 21, time.Now().Add(-time.Hour): 20} {
		rows, err := readUsage(dir, usage.ListPrices(), since)
		if err != nil {
			t.Fatal(err)
		}
		if _, total := groupUsage(rows, ""); total.Tokens.Input != want {
			t.Errorf("%d tokens, want %d: %+v", total.Tokens.Input, want, rows)
		}
	}
}

func TestListWide(t *testing.T) {
	t.Parallel()
	h := busy(t)
	if err := os.Mkdir(filepath.Join(h.home, "state", "coder-xxxxx"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(h.home, "agents"), 0o700); err != nil {
		t.Fatal(err)
	}
	stdout, _, err := h.run((*app).listCommand, "--wide", "--all")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{` AGE +TOKENS +COST +LABEL\n`, `\ncoder-aaaaa .* 204\.5k +\$0\.18\n`, `\ncoder-bbbbb .* 14 +\?\n`, `\ncoder-ccccc .* 1\.1M +\$2\.25\n`, `\ncoder-xxxxx +broken +bottle`} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("no %s in:\n%s", want, stdout)
		}
	}
	stdout, _, err = h.run((*app).listCommand, "--wide", "--all", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var got []struct {
		ID, State string
		Usage     *usage.Totals
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got[0].ID != "coder-aaaaa" || got[0].State != "running" || got[0].Usage.Cost.Micro() != 182_560 || got[3].Usage != nil {
		t.Errorf("%+v", got)
	}
	if stdout, _, err = h.run((*app).listCommand, "--json"); err != nil || strings.Contains(stdout, "usage") {
		t.Errorf("%v, %s", err, stdout)
	}
}

func TestUsageCompletion(t *testing.T) {
	t.Parallel()
	h := busy(t)
	cmd := (&app{homeFlag: h.home, sys: &System{LookupEnv: func(string) (string, bool) { return "", false }}}).usageCommand()
	cmd.SetContext(t.Context())
	ids, _ := cmd.ValidArgsFunction(cmd, []string{"coder-bbbbb"}, "coder-c")
	if len(ids) != 1 || !strings.HasPrefix(ids[0], "coder-ccccc\t") {
		t.Errorf("%q", ids)
	}
}

// Folded requests of several models have tokens and no model.
func TestFoldedTokens(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	h.bottle("coder-aaaaa", false, audit.Event{Time: noon, Kind: audit.KindDropped, Verdict: "allow", Host: "api.openai.com", Count: 3, TokensIn: 5})
	stdout, stderr, err := h.run((*app).usageCommand)
	if err != nil || !regexp.MustCompile(`\ncoder-aaaaa +other +3 .* 5 +0 +0 +\?\n`).MatchString(stdout) || !strings.Contains(stderr, "no price is known for other:") {
		t.Errorf("%s%s%v", stdout, stderr, err)
	}
}

func TestCountText(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]int64{"0": 0, "9999": 9999, "10k": 10_000, "12.3k": 12_345, "999.9k": 999_949, "1M": 999_950, "1.2M": 1_234_567, "2.5G": 2_500_000_000, "5000G": 5_000_000_000_000} {
		if got := countText(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func BenchmarkReadUsage(b *testing.B) {
	path := filepath.Join(b.TempDir(), "audit.jsonl")
	line := `{"v":1,"seq":1,"time":"2026-01-02T03:04:05.123456Z","bottle":"coder-aaaaa","kind":"request","via":"connect","verdict":"allow","rule":"provider/claude#0","why":"rule provider/claude#0 allows POST /v1/messages on api.anthropic.com","host":"api.anthropic.com","addr":"160.79.104.10","port":443,"method":"POST","path":"/v1/messages","status":200,"bytes_out":2048,"bytes_in":1024,"ms":812.4,"model":"claude-opus-4-5-20251101","tokens_in":9,"tokens_cache_read":18000,"tokens_out":412,"prev":"` + strings.Repeat("0", 64) + `"}` + "\n"
	const lines = 10_000
	if err := os.WriteFile(path, []byte(strings.Repeat(line, lines)), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(line)) * lines)
	for b.Loop() {
		t := tallies{prices: usage.ListPrices(), days: map[string]*usage.Meter{}}
		if err := t.segment(path); err != nil {
			b.Fatal(err)
		}
	}
}
