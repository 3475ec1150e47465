package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claude-bottle/claude-bottle/internal/audit"
	"github.com/claude-bottle/claude-bottle/internal/progress"
)

func TestTableAlignsPaintedCells(t *testing.T) {
	t.Parallel()
	tab := table{head: []string{"ID", "STATE", "LABEL"}}
	tab.add("a", style{on: true}.green("running"), "")
	tab.add("longer", "x", "ünï")
	var b bytes.Buffer
	tab.print(&b, style{})
	want := "ID      STATE    LABEL\na       \x1b[32mrunning\x1b[0m\nlonger  x        ünï\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestAgesAndSizes(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": -time.Second, "59s": 59 * time.Second, "1m": 61 * time.Second, "2h": 2 * time.Hour, "47h": 47 * time.Hour, "3d": 80 * time.Hour,
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %q, want %q", d, got, want)
		}
	}
	for want, n := range map[string]int64{"0 B": 0, "1023 B": 1023, "1 KiB": 1 << 10, "1.5 GiB": 3 << 29, "4 GiB": 4 << 30} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestWrapKeepsWords(t *testing.T) {
	t.Parallel()
	got := wrap("one two averyveryverylongword three", 9)
	if d := cmp.Diff([]string{"one two", "averyveryverylongword", "three"}, got); d != "" {
		t.Error(d)
	}
}

func TestQuotedShowsBoundaries(t *testing.T) {
	t.Parallel()
	if got, want := quoted([]string{"a", "b c", "", "it's"}), `a 'b c' '' 'it'\''s'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What comes out of a bottle is hostile; these are all the texts of an event a person sees.
func FuzzAuditLineIsInert(f *testing.F) {
	f.Add("host", "/path", "why")
	f.Add("\x1b[2J", "\u202e\n", "\xff\x00")
	f.Fuzz(func(t *testing.T, host, path, why string) {
		line := auditLine(style{}, audit.Event{Kind: "request", Verdict: "deny", Host: host, Path: path, Why: why, Method: why, Text: host, Addr: path})
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e }) {
			t.Errorf("not inert: %q", line)
		}
	})
}

func TestLineWriterKeepsLinesWholeAndInert(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	var l lineWriter
	for _, piece := range []string{"he", "llo\r\nwor", "ld\x1b[31m\n", "rest"} {
		if err := l.write(&b, piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.flush(&b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("hello\nworld\\x1b[31m\nrest\n", b.String()); d != "" {
		t.Error(d)
	}
}

func TestLaunchView(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	events := []progress.Event{
		{Time: began, Step: "start", Line: "sealing a bottle"},
		{Time: began.Add(20 * time.Millisecond), Step: "self-test", Line: "24 probes \x1b[31mpassed"},
		{Time: began.Add(50 * time.Millisecond), Step: "agent", Line: "starting"},
		{Time: began.Add(60 * time.Millisecond), Step: "agent", End: &progress.End{OK: true}},
	}
	for name, tc := range map[string]struct {
		view launchView
		want string
	}{
		"plain": {launchView{}, "start: sealing a bottle\nself-test: 24 probes \\x1b[31mpassed\nagent: starting\n"},
		"quiet": {launchView{quiet: true}, ""},
		"live": {launchView{live: true, width: 80}, "" +
			"\r\x1b[K  start      sealing a bottle" +
			"\r\x1b[K  start         20ms  sealing a bottle\n" +
			"\r\x1b[K  self-test  24 probes \\x1b[31mpassed" +
			"\r\x1b[K  self-test     30ms  24 probes \\x1b[31mpassed\n" +
			"\r\x1b[K  agent      starting" +
			"\r\x1b[K  agent      starting" +
			"\r\x1b[K  agent         10ms  starting\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			tc.view.w = &b
			for _, e := range events {
				tc.view.show(e)
			}
			if d := cmp.Diff(tc.want, b.String()); d != "" {
				t.Error(d)
			}
		})
	}
}
