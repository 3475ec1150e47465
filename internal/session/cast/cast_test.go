package cast

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func record(t *testing.T, o Options) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "session.cast")
	w, err := Create(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return w, path
}

func readAll(t *testing.T, path string) (events []Event) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
}

func TestRecordingIsReadBack(t *testing.T) {
	t.Parallel()
	w, path := record(t, Options{Rows: 24, Cols: 80, TTY: true})
	w.Output([]byte("a\x1b[1m\"<&>\u2028漢\r\n"), nil)
	w.Resize(30, 100)
	w.Output([]byte("\xff"), nil)
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if !json.Valid(line) {
			t.Errorf("not JSON: %s", line)
		}
	}
	events := readAll(t, path)
	if len(events) != 3 || events[0].Data != "a\x1b[1m\"<&>\u2028漢\r\n" || events[1].Kind != "r" || events[1].Data != "100x30" || events[2].Data != "\ufffd" {
		t.Errorf("got %+v", events)
	}
}

func TestRecordingKeepsItsEndWithinItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 20000
	w, path := record(t, Options{Rows: 24, Cols: 80, Limit: limit})
	for range 1000 {
		w.Output([]byte(strings.Repeat("x", 90)), func() []byte { return []byte("snapshot") })
	}
	w.Output([]byte("the end"), nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	files := Files(path)
	for _, f := range files {
		fi, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += fi.Size()
	}
	if len(files) != 2 || total > limit+2000 {
		t.Errorf("%d files of %d bytes", len(files), total)
	}
	events := readAll(t, path)
	if events[0].Data != "snapshot" || events[len(events)-1].Data != "the end" {
		t.Errorf("from %q to %q", events[0].Data, events[len(events)-1].Data)
	}
}

func TestReaderFollowsAndSkipsWhatACrashLeft(t *testing.T) {
	t.Parallel()
	w, path := record(t, Options{Rows: 24, Cols: 80})
	w.Output([]byte("one"), nil)
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	next := func(want string) {
		t.Helper()
		if e, err := r.Next(); err != nil || e.Data != want {
			t.Errorf("got %q, %v; want %q", e.Data, err, want)
		}
	}
	next("one")
	for _, half := range []string{`[0.5,"o",`, `"two"]` + "\n"} {
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
		if _, err := w.file.WriteString(half); err != nil {
			t.Fatal(err)
		}
	}
	next("two")
	if _, err := w.file.WriteString("[0.5,\"o\n"); err != nil {
		t.Fatal(err)
	}
	w.Output([]byte("three"), nil)
	next("three")
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestFailingDiskStopsTheRecordingOnly(t *testing.T) {
	t.Parallel()
	w, _ := record(t, Options{Rows: 24, Cols: 80})
	_ = w.file.Close()
	w.Output([]byte("x"), nil)
	w.Output([]byte("y"), nil)
	if err := w.Close(); err == nil {
		t.Error("Close says nothing of it")
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"version":2,"width":80,"height":24}` + "\n" + `[0.1,"o","x"]` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			return
		}
		defer r.Close()
		for range len(b) + 1 {
			if _, err := r.Next(); err != nil {
				return
			}
		}
		t.Error("more events than bytes")
	})
}
