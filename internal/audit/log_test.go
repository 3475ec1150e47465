package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func request(i int) Event {
	return Event{Kind: KindRequest, Via: ViaProxy, Verdict: "allow", Host: "ok.test", Path: fmt.Sprintf("/%d", i), Status: 200}
}

func read(t testing.TB, path string) ([]byte, []Event) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []Event
	for line := range bytes.Lines(b) {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		events = append(events, e)
	}
	return b, events
}

func openLog(t testing.TB, path string) *Log {
	t.Helper()
	l, err := Open(path, "worker-abcde")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestEventsAreChainedAndTheChainGoesOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for round := range 3 {
		l := openLog(t, path)
		for i := range 5 {
			l.Append(request(round*5 + i))
		}
		end := l.Close
		if round == 1 {
			end = l.Discard // which gives up nothing but the flush
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		l.Append(request(99)) // after the end: nothing
	}
	b, events := read(t, path)
	if len(events) != 15 {
		t.Fatalf("%d events", len(events))
	}
	for i, e := range events {
		if e.Seq != uint64(i+1) || e.V != 1 || e.Bottle != "worker-abcde" || e.Time.IsZero() || e.Path != fmt.Sprintf("/%d", i) {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if err := Verify(bytes.NewReader(b)); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestG05VerifyNamesTheChangedLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := openLog(t, path)
	for i := range 6 {
		l.Append(request(i))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, _ := read(t, path)
	lines := strings.SplitAfter(string(b), "\n")[:6]
	swap := append([]string(nil), lines...)
	swap[2], swap[3] = swap[3], swap[2]
	for what, c := range map[string]struct {
		text string
		want string
	}{
		"edited":      {strings.Replace(string(b), `"/2"`, `"/9"`, 1), "line 3 was changed"},
		"removed":     {strings.Join(append(append([]string(nil), lines[:2]...), lines[3:]...), ""), "audit line 3 has number 4"},
		"reordered":   {strings.Join(swap, ""), "audit line 3 has number 4"},
		"first gone":  {strings.Join(lines[1:], ""), "audit line 1 has number 2"},
		"not JSON":    {strings.Join(lines[:2], "") + "x\n", "audit line 3 is no event"},
		"unfinished":  {string(b[:len(b)-4]), "audit line 6: unfinished"},
		"added field": {strings.Replace(string(b), `{"v":1,"seq":6`, `{"v":1,"x":2,"seq":6`, 1), "audit line 6 is no event"},
	} {
		if err := Verify(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}

func TestAnUnfinishedLastLineIsCutOffAndRecorded(t *testing.T) {
	t.Parallel()
	for what, keep := range map[string]int{"after some lines": 2, "as the only line": 0} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := openLog(t, path)
		for i := range 3 {
			l.Append(request(i))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		b, _ := read(t, path)
		lines := strings.SplitAfter(string(b), "\n")
		if err := os.WriteFile(path, []byte(strings.Join(lines[:keep], "")+lines[keep][:20]), 0o600); err != nil {
			t.Fatal(err)
		}
		l = openLog(t, path)
		l.Append(request(7))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		b, events := read(t, path)
		if err := Verify(bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if len(events) != keep+2 || !strings.HasPrefix(events[keep].Text, "recovered: 20 bytes") {
			t.Errorf("%s: %+v", what, events)
		}
	}
}

func TestAForeignLastLineIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"hello\n", "{}\n", `{"v":2,"seq":1}` + "\n", strings.Repeat("x", 3*lineMax)} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := Open(path, "x"); err == nil {
			_ = l.Close()
			t.Errorf("%.20q was taken for a log", text)
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("%.20q was changed", text)
		}
	}
}

func TestF06AFloodIsFoldedAndCounted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := open(path, "worker-abcde", limits{segment: segmentMax, segments: segments}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	const total, workers = 50000, 4
	flood := func(n int) {
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range n / workers {
					l.Append(Event{Kind: KindRequest, Via: ViaProxy, Verdict: "deny", Host: fmt.Sprintf("h%d-%d.c2.test", w, i)})
				}
			})
		}
		wg.Wait()
	}
	flood(total / 2)
	go l.write() // only now: who appends never waits for the disk
	flood(total / 2)
	l.Append(Event{Kind: KindLifecycle, Text: "still here"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, events := read(t, path)
	if len(events) > 2000 || len(b) > 1<<20 {
		t.Errorf("%d events, %d bytes for a flood", len(events), len(b))
	}
	var n uint64
	lifecycle := false
	for _, e := range events {
		switch e.Kind {
		case KindDropped:
			n += e.Count
		case KindRequest:
			n++
		case KindLifecycle:
			lifecycle = true
		}
	}
	if n != total || !lifecycle {
		t.Errorf("%d events accounted for, want %d; lifecycle %v", n, total, lifecycle)
	}
	if err := Verify(bytes.NewReader(b)); err != nil {
		t.Error(err)
	}
}

func TestFullSegmentsAreSetAsideAndNeverOverwritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	lim := limits{segment: 4 << 10, segments: 3}
	var l *Log
	for round := range 4 { // a restart in between changes nothing
		var err error
		if l, err = open(path, "x", lim, time.Now); err != nil {
			t.Fatal(err)
		}
		go l.write()
		for i := range 30 {
			l.Append(request(round*30 + i))
		}
		l.Append(Event{Kind: KindLifecycle, Text: fmt.Sprintf("round %d", round)})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var all []Event
	for _, p := range []string{path + ".1", path + ".2", path} {
		b, events := read(t, p)
		if err := Verify(bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", filepath.Base(p), err)
		}
		if len(b) > 6<<10 {
			t.Errorf("%s has %d bytes", filepath.Base(p), len(b))
		}
		all = append(all, events...)
	}
	if _, err := os.Stat(path + ".3"); err == nil {
		t.Error("there are more segments than allowed")
	}
	for i, e := range all {
		if e.Seq != uint64(i+1) {
			t.Fatalf("number %d at place %d: the chain breaks between segments", e.Seq, i+1)
		}
	}
	if all[0].Path != "/0" || all[len(all)-1].Text != "round 3" {
		t.Errorf("first %+v, last %+v", all[0], all[len(all)-1])
	}
}

func TestG01EventsAreInertAndBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := openLog(t, path)
	hostile := "\x1b]0;x\a\u202e" + strings.Repeat("y", 100000)
	l.Append(Event{Kind: KindRequest, Verdict: "deny", Host: hostile, Path: hostile, Method: hostile, Why: hostile, Rule: hostile, Addr: hostile, Text: hostile})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, events := read(t, path)
	if len(b) > lineMax/4 || strings.ContainsAny(events[0].Host+events[0].Path+events[0].Why, "\x1b\a\u202e") {
		t.Errorf("%d bytes: %.200s", len(b), b)
	}
	if err := Verify(bytes.NewReader(b)); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.TempDir(), "x"); err == nil {
		t.Error("a folder was opened")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"v":1,"seq":1,"prev":"` + noPrev + `"}` + "\n"))
	f.Add([]byte("\n\n{"))
	f.Fuzz(func(_ *testing.T, b []byte) { _ = Verify(bytes.NewReader(b)) })
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"v":1,"seq":1,"prev":"` + noPrev + `"}` + "\nxx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "a")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c := chain{path: path, lim: limits{segment: segmentMax, segments: segments}}
		if _, err := c.open(); err == nil {
			if end, _ := c.f.Seek(0, io.SeekEnd); end != c.size {
				t.Fatalf("size %d, file has %d", c.size, end)
			}
			_ = c.close(true)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l := openLog(b, filepath.Join(b.TempDir(), "audit.jsonl"))
	e := request(1)
	b.ReportAllocs()
	for b.Loop() {
		l.Append(e)
	}
}
