package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/usage"
)

// none stands where there is nothing to name.
const none = "-"

// printUsage prints rows as a table, with their total where there are several.
func printUsage(sys *System, rows []usageRow, total usage.Totals, by string) {
	st := sys.styleFor(sys.Stdout)
	head := []string{strings.ToUpper(by)}
	name := func(r usageRow) []string { return []string{r.Bottle + r.Day + r.Host + r.Model} } // one of them
	if by == "" {
		head = []string{"BOTTLE", "MODEL"}
		name = func(r usageRow) []string { return []string{r.Bottle, r.Model} }
	}
	names := len(head)
	head = append(head, "REQUESTS", "UP", "DOWN", "INPUT", "CACHED", "OUTPUT", "COST")
	var lines [][]string
	for _, r := range rows {
		cells := name(r)
		for i, c := range cells {
			if cells[i] = safe(c); c == "" {
				cells[i] = none
			}
		}
		lines = append(lines, append(cells, usageCells(r.Totals)...))
	}
	if len(rows) > 1 {
		cells := append([]string{"total"}, make([]string, names-1)...)
		lines = append(lines, append(cells, usageCells(total)...))
	}
	all := alignRight(append([][]string{head}, lines...), names)
	t := table{head: all[0]}
	for i, cells := range all[1:] {
		for j := range cells {
			if j == 0 || i == len(rows) {
				cells[j] = st.bold(cells[j])
			}
		}
		t.add(cells...)
	}
	t.print(sys.Stdout, st)
}

// alignRight pads the cells of every column from the given one on to the same width.
func alignRight(lines [][]string, from int) [][]string {
	width := make([]int, len(lines[0]))
	for _, cells := range lines {
		for i, c := range cells {
			width[i] = max(width[i], visible(c))
		}
	}
	for _, cells := range lines {
		for i := from; i < len(cells); i++ {
			cells[i] = strings.Repeat(" ", width[i]-visible(cells[i])) + cells[i]
		}
	}
	return lines
}

func usageCells(t usage.Totals) []string {
	cells := []string{countText(t.Requests), bytesText(t.BytesOut), bytesText(t.BytesIn), none, none, none, none}
	if !t.Tokens.Zero() {
		cells[3], cells[4], cells[5] = countText(t.Tokens.Prompt()), countText(t.Tokens.CacheRead), countText(t.Tokens.Output)
		cells[6] = costText(t)
	}
	return cells
}

// costText is what tokens cost, with a "+" where a part has no price, and "?" where nothing has.
func costText(t usage.Totals) string {
	switch {
	case t.Unpriced == 0:
		return t.Cost.String()
	case t.Cost == 0:
		return "?"
	}
	return t.Cost.String() + "+"
}

// countText is a number as a person reads it: "9999", "12.3k", "1.2M".
func countText(n int64) string {
	if n < 10_000 {
		return fmt.Sprint(n)
	}
	v, unit := float64(n)/1000, 0
	for units := "kMG"; v >= 999.95 && unit < len(units)-1; unit++ {
		v /= 1000
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + "kMG"[unit:unit+1]
}

// tellGaps says what the numbers lack.
func (a *app) tellGaps(rows []usageRow) {
	var unpriced, silent []string
	note := func(models *[]string, model string) {
		if model = safe(model); !slices.Contains(*models, model) {
			*models = append(*models, model)
		}
	}
	for _, r := range rows {
		if r.Unpriced > 0 {
			note(&unpriced, r.Model)
		}
		if r.Silent > 0 {
			note(&silent, r.Model)
		}
	}
	st := a.sys.styleFor(a.sys.Stderr)
	if len(unpriced) > 0 {
		path := pricesFile
		if home, err := a.home(); err == nil {
			path = filepath.Join(home, pricesFile)
		}
		putln(a.sys.Stderr, st.dim(fmt.Sprintf("no price is known for %s: cost lacks it; give one in %s", strings.Join(unpriced, ", "), safe(path))))
	}
	if len(silent) > 0 {
		putln(a.sys.Stderr, st.dim(fmt.Sprintf("some answers of %s told no tokens: they are counted as requests alone", strings.Join(silent, ", "))))
	}
}
