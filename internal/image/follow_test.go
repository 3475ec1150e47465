package image

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/progress"
)

// Fields of a protocol buffer, for writing traces.

func varint(number int, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3), value)
}

func text(number int, parts ...[]byte) []byte {
	data := bytes.Join(parts, nil)
	b := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3|2), uint64(len(data)))
	return append(b, data...)
}

func str(number int, s string) []byte { return text(number, []byte(s)) }

func vertexOf(digest, name string, more ...[]byte) []byte {
	return text(1, append([][]byte{str(1, digest), str(2, "an input"), str(3, name)}, more...)...)
}

func TestTrace(t *testing.T) {
	t.Parallel()
	b := bytes.Join([][]byte{
		vertexOf("v1", "[1/2] RUN true", varint(4, 1), text(5, varint(1, 7)), text(6, varint(1, 9)), str(7, "it failed")),
		text(2, str(1, "a status, passed over")),
		text(3, str(1, "v1"), text(2, varint(1, 7)), varint(3, 1), str(4, "output\n")),
		{9<<3 | 5, 1, 2, 3, 4}, {10<<3 | 1, 1, 2, 3, 4, 5, 6, 7, 8}, // kinds we have no use for
	}, nil)
	got, err := parseTrace(b)
	want := trace{
		vertexes: []vertex{{digest: "v1", name: "[1/2] RUN true", failure: "it failed", cached: true, started: true, completed: true}},
		logs:     []vertexLog{{vertex: "v1", data: []byte("output\n")}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for n := range len(b) {
		if whole, err := parseTrace(b[:n]); err == nil && reflect.DeepEqual(whole, want) && n < len(b)-14 {
			t.Errorf("%d of %d bytes are as good as all", n, len(b))
		}
	}
}

func FuzzTrace(f *testing.F) {
	f.Add(bytes.Join([][]byte{vertexOf("v1", "[1/2] RUN true", varint(4, 1)), text(3, str(1, "v1"), str(4, "output"))}, nil))
	f.Add([]byte{10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := parseTrace(b)
		size := 0
		for _, v := range tr.vertexes {
			size += len(v.digest) + len(v.name) + len(v.failure)
		}
		for _, l := range tr.logs {
			size += len(l.vertex) + len(l.data)
		}
		if size > len(b) {
			t.Fatalf("%d bytes came out of %d (%v)", size, len(b), err)
		}
	})
}

// follow has a follower read what an engine answers.
func follow(answer io.Reader) (f follower, shown []string, log string, err error) {
	var b bytes.Buffer
	err = f.follow(answer, &output{log: &b, sink: func(e progress.Event) { shown = append(shown, e.Line) }})
	return f, shown, b.String(), err
}

func aux(parts ...[]byte) string {
	return fmt.Sprintf(`{"id":"moby.buildkit.trace","aux":%q}`+"\n", base64.StdEncoding.EncodeToString(bytes.Join(parts, nil)))
}

func TestBuildKitStepsAtOnceAreKeptApart(t *testing.T) {
	t.Parallel()
	started, completed := text(5, varint(1, 1)), text(6, varint(1, 2))
	f, shown, log, err := follow(strings.NewReader(
		aux(vertexOf("a", "[x 1/2] RUN one"), vertexOf("a", "[x 1/2] RUN one", started), vertexOf("b", "[2/2] RUN two", started)) +
			aux(text(3, str(1, "a"), str(4, "half a ")), text(3, str(1, "b"), str(4, "two's\n")), text(3, str(1, "a"), str(4, "line\n")), text(3, str(1, "b"), str(4, "last"))) +
			aux(vertexOf("b", "[2/2] RUN two", started, completed, str(7, "exit code: 3"))) +
			aux(vertexOf("a", "[x 1/2] RUN one", started, completed, str(7, "called off"))) +
			`{"errorDetail":{"message":"process did not complete: exit code: 3"},"error":"process"}` + "\n"))
	if err != nil || f.failure != "process did not complete: exit code: 3" || f.step != "step 2/2: RUN two" || !reflect.DeepEqual([]string(f.tail), []string{"two's", "last"}) {
		t.Errorf("got %q at %q after %q (%v)", f.failure, f.step, f.tail, err)
	}
	want := []string{"step x 1/2: RUN one", "step 2/2: RUN two", "two's", "half a line", "last"}
	if !reflect.DeepEqual(shown, want) {
		t.Errorf("shown %q, want %q", shown, want)
	}
	if !strings.Contains(log, "half a two's\nline\nlast") {
		t.Errorf("log %q", log)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"<html>no engine here</html>\n":                    "can't be read",
		`{"stream":"cut off in the`:                        "unexpected EOF",
		`{"id":"moby.buildkit.trace","aux":"////"}` + "\n": "",
		`{"id":"moby.buildkit.trace","aux":{"a":1}}`:       "",
		"": "",
	} {
		_, _, _, err := follow(strings.NewReader(answer))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", answer, err, want)
		}
	}
}

// endless is an engine that never ends its line.
type endless struct{ left int }

func (e *endless) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), e.left)
	for i := range n {
		b[i] = 'x'
	}
	e.left -= n
	return n, nil
}

func TestMemoryIsBoundedWhateverComes(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, shown, _, err := follow(io.MultiReader(strings.NewReader(`{"stream":"`), &endless{256 << 20}, strings.NewReader("\"}\n{\"stream\":\"the end\\n\"}\n")))
	runtime.ReadMemStats(&after)
	if err != nil || len(shown) != 2 || !strings.Contains(shown[0], "left out") || shown[1] != "the end" {
		t.Errorf("got %q, %v", shown, err)
	}
	// Growing a slice up to the bound takes a few times the bound.
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8*messageMax {
		t.Errorf("a message of 256 MiB took %d MiB", grown>>20)
	}
}

func TestLinesOfAnyLength(t *testing.T) {
	t.Parallel()
	var got []string
	l := lines{each: func(s string) { got = append(got, s) }}
	for range 10_000 {
		l.write(bytes.Repeat([]byte("y"), 1000))
	}
	if cap(l.part) > 8*lineMax {
		t.Errorf("holds %d bytes of a line", cap(l.part))
	}
	l.write([]byte("\n\nshort\tone\r\n"))
	if len(got) != 2 || len(got[0]) > lineMax || !strings.HasSuffix(got[0], "y…") || got[1] != "short    one" {
		t.Errorf("got %d lines, the last %q", len(got), got[len(got)-1])
	}
}
