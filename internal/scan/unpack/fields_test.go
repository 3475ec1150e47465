package unpack

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// taken is what was yielded, a name as "name", a value as "name=value".
func taken(fields func(Yield)) []string {
	var got []string
	fields(func(name, value []byte) bool {
		if value == nil {
			got = append(got, string(name))
		} else {
			got = append(got, string(name)+"="+string(value))
		}
		return true
	})
	return got
}

// both takes body apart at once and written in pieces, which must come to the same.
func both(t testing.TB, m Media, body []byte) []string {
	t.Helper()
	once := taken(func(y Yield) {
		s := NewSplitter(m, Limits{}, y)
		_, _ = s.Write(body)
		if err := s.Close(); err != nil {
			t.Errorf("at once: %v", err)
		}
	})
	for seed := range uint64(3) {
		again := taken(func(y Yield) {
			s := NewSplitter(m, Limits{}, y)
			for p := range pieces(body, seed+1) {
				if _, err := s.Write(p); err != nil {
					t.Errorf("in pieces: %v", err)
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("in pieces: %v", err)
			}
		})
		if !slices.Equal(once, again) {
			t.Errorf("in pieces %q\nat once %q", again, once)
		}
	}
	return once
}

func TestFields(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		contentType, body string
		want              []string
	}{
		"nothing":               {"", "", nil},
		"text":                  {"", "hello world", []string{"=hello world"}},
		"JSON":                  {"application/json", `{"a": "b", "c":[1,"two",null ,true], "d":{"e":-1.5e3}}`, []string{"a", "a=b", "c", "c=1", "c=two", "c=null", "c=true", "d", "e", "e=-1.5e3"}},
		"JSON as a form":        {"application/x-www-form-urlencoded", `["a=b&c"]`, []string{"=a=b&c"}},
		"JSON as an image":      {"image/png", "\ufeff \n{\"a\":\"b\"}", []string{"=\ufeff", "a", "a=b"}},
		"JSON escapes":          {"", `["\u0061\ud83d\ude00\n\"\\\/\ud83d.","\x\u12"]`, []string{"=a😀\n\"\\/\ufffd.", `=\x\u12`}},
		"JSON escaped key":      {"", `{"\u0061":""}`, []string{"a", "a="}},
		"JSON lines":            {"", "{\"a\":1}\n{\"b\":2}\n", []string{"a", "a=1", "b", "b=2"}},
		"no JSON":               {"", `{a:'b',,"c`, []string{"=a", "='b'", "c"}},
		"array in object":       {"", `{"a":[{"b":"c"},"d"],"e":"f"}`, []string{"a", "b", "b=c", "b=d", "e", "e=f"}},
		"form":                  {"application/x-www-form-urlencoded; charset=utf-8", "a=b+c%26&&d=%e&=f&g&h=i=j", []string{"a", "a=b c&", "d", "d=%e", "", "=f", "g", "h", "h=i=j"}},
		"form as text":          {"text/plain", "a=b&c=d", []string{"a", "a=b", "c", "c=d"}},
		"multipart":             {"multipart/form-data; boundary=xx", "pre\r\n--xx\r\nContent-Disposition: form-data; name=\"a;b\"\r\n\r\nv1\r\n--xx\r\n\r\n--xxx\r\n--xx--\r\nepi", []string{"=pre", "Content-Disposition", "Content-Disposition=form-data; name=\"a;b\"", "name", "name=a;b", "name=v1", "name=--xxx", "name=epi"}},
		"multipart, bare lines": {"", "--xx\nContent-Type: a/b\n\nv1\n--xx--\n", []string{"Content-Type", "Content-Type=a/b", "Content-Type=v1"}},
		"multipart, cut":        {"multipart/mixed; boundary=\"x x\"", "--x x\r\nA: b\r\n\r\nv", []string{"A", "A=b", "A=v"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := both(t, Media{ContentType: c.contentType}, []byte(c.body)); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if got := taken(func(y Yield) { Fields(c.contentType, []byte(c.body), y) }); !slices.Equal(got, c.want) {
				t.Errorf("Fields gives %q", got)
			}
		})
	}
}

func TestQueryAndCookies(t *testing.T) {
	t.Parallel()
	if got := taken(func(y Yield) { Query([]byte("a=%67hp_&b=x+y&c"), y) }); !slices.Equal(got, []string{"a", "a=ghp_", "b", "b=x y", "c"}) {
		t.Errorf("query: %q", got)
	}
	if got := taken(func(y Yield) { Cookies([]byte("a=b; c=d%20+; e"), y) }); !slices.Equal(got, []string{"a", "a=b", "c", "c=d%20+", "e"}) {
		t.Errorf("cookies: %q", got)
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"A: b":                    {"A", "A=b"},
		"no colon":                {"=no colon"},
		"S: =?utf-8?B?aHVudGVy?=": {"S", "S=hunter"},
		"S: x =?utf-8?q?hun=74er_?= =?iso-8859-1?b?Mg?= y": {"S", "S=x hunter 2 y"},
		"S: =?utf-8?x?a?= =?":                              {"S", "S==?utf-8?x?a?= =?"},
		`C: f; filename="a\"b\\c.d"; x`:                    {"C", `C=f; filename="a\"b\\c.d"; x`, "filename", `filename=a"b\c.d`},
		"C: f; filename*=UTF-8''hun%74er+2":                {"C", "C=f; filename*=UTF-8''hun%74er+2", "filename", "filename=hunter+2"},
		`C: f; filename*0="hun"; filename*1=ter`:           {"C", `C=f; filename*0="hun"; filename*1=ter`, "filename*0", "filename*0=hun", "filename*1", "filename*1=ter"},
	} {
		e := emitter{}
		got := taken(func(y Yield) {
			e.yield = y
			Header([]byte(line), y)
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", line, got, want)
		}
	}
}

// frame is one gRPC message.
func frame(flags byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message))), message...)
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	text := prose(3000)
	body := slices.Concat(frame(0, []byte("hunter")), frame(1, coded(t, text, "gzip")), frame(1, nil), frame(0, []byte("2")))
	var all []byte
	for _, v := range both(t, Media{"application/grpc+proto", "gzip"}, body[:11]) {
		all = append(all, v[1:]...)
	}
	if string(all) != "hunter" {
		t.Errorf("got %q", all)
	}
	for seed := range uint64(3) {
		all = nil
		s := NewSplitter(Media{"application/grpc", "gzip"}, Limits{}, func(_, v []byte) bool {
			all = append(all, v...)
			return true
		})
		for p := range pieces(body, seed) {
			_, _ = s.Write(p)
		}
		if err := s.Close(); err != nil || string(all) != "hunter"+string(text)+"2" {
			t.Errorf("%d bytes, %v", len(all), err)
		}
	}
	send := func(coding string, body []byte) error {
		s := NewSplitter(Media{"application/grpc", coding}, Limits{}, func(_, _ []byte) bool { return true })
		_, werr := s.Write(body)
		return errors.Join(werr, s.Close())
	}
	for _, coding := range []string{"", "identity", "snappy"} {
		if err := send(coding, body); !errors.As(err, new(*UnknownError)) {
			t.Errorf("%q: %v", coding, err)
		}
	}
	if err := send("gzip", body[:600]); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
	// A thousand small messages are one bomb, though none is.
	small := frame(1, coded(t, make([]byte, 1<<20), "zstd"))
	if err := send("zstd", bytes.Repeat(small, 1000)); !errors.As(err, new(*BombError)) {
		t.Errorf("many small: %v", err)
	}
}

// multipartOf writes parts with the standard library.
func multipartOf(t testing.TB, boundary string, values []string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(boundary); err != nil {
		t.Skip(err)
	}
	for i, v := range values {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="n%d"`, i)}})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Write([]byte(v))
	}
	_ = w.Close()
	return b.Bytes()
}

func FuzzMultipart(f *testing.F) {
	f.Add("a-", "--a-", "0", uint64(0))
	f.Add("xx", "v1", "\r\n--x", uint64(3))
	f.Add("a-b", strings.Repeat("\r\n--a-", 90), "\n\n", uint64(9))
	f.Fuzz(func(t *testing.T, boundary, a, b string, seed uint64) {
		if delim := "\n--" + boundary; strings.Contains("\n"+a, delim) || strings.Contains("\n"+b, delim) {
			return // the standard library wants a carriage return before it, and not within white space
		}
		body := multipartOf(t, boundary, []string{a, b})
		m := Media{ContentType: "multipart/form-data; boundary=\"" + boundary + "\""}
		got := map[string]string{}
		s := NewSplitter(m, Limits{}, func(name, v []byte) bool {
			if v != nil && string(name) == "name" {
				got["name"] += string(v) + "|"
			}
			return true
		})
		for p := range pieces(body, seed) {
			if _, err := s.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		std := ""
		for r := multipart.NewReader(bytes.NewReader(body), boundary); ; {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Skip(err)
			}
			text, err := io.ReadAll(p)
			if err != nil {
				t.Skip(err)
			}
			std += p.FormName() + "|" + string(text)
			if len(text) > 0 {
				std += "|"
			}
		}
		// Values longer than a piece come in several, so the bars go.
		if plain := strings.NewReplacer("|", ""); plain.Replace(got["name"]) != plain.Replace(std) {
			t.Errorf("got %q\nstd %q", got["name"], std)
		}
	})
}

// strings of a decoded JSON value, keys and values, in no order.
func jsonStrings(v any, add func(string)) {
	switch v := v.(type) {
	case string:
		add(v)
	case json.Number:
		add(string(v))
	case bool:
		add(fmt.Sprint(v))
	case nil:
		add("null")
	case []any:
		for _, e := range v {
			jsonStrings(e, add)
		}
	case map[string]any:
		for k, e := range v {
			add(k)
			jsonStrings(e, add)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":["b\u0041\\",{"c":1.5e3}],"d":"\ud83d\ude00"}`, `[[[]],"x",{"":{}}]`, `["\\\\\\\"xxx"]`, `{"a`, `["\`,
	} {
		f.Add([]byte(s), uint64(3))
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		var got []string
		size := 0
		Fields("application/json", body, func(name, value []byte) bool {
			if value == nil {
				value = name
			}
			got = append(got, string(value))
			size += len(value)
			return true
		})
		if size > 3*len(body) {
			t.Errorf("%d bytes become %d", len(body), size)
		}
		var joined []byte
		s := NewSplitter(Media{ContentType: "application/json"}, Limits{}, func(name, value []byte) bool {
			if value == nil {
				value = name
			}
			joined = append(joined, value...)
			return true
		})
		for p := range pieces(body, seed) {
			_, _ = s.Write(p)
		}
		_ = s.Close()
		if len(body) < pieceSize && string(joined) != strings.Join(got, "") {
			t.Errorf("in pieces %q\nat once %q", joined, strings.Join(got, ""))
		}
		if !utf8.Valid(body) || !looksJSON(body[:min(len(body), sniffSize)]) || bytes.HasPrefix(body, []byte("\ufeff")) {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		var v any
		if dec.Decode(&v) != nil || dec.More() || hasDuplicates(body) {
			return
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return
		}
		var want []string
		jsonStrings(v, func(s string) { want = append(want, s) })
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q\ngot  %q\nwant %q", body, got, want)
		}
	})
}

// hasDuplicates reports whether an object of valid JSON names a key twice: a map keeps one.
func hasDuplicates(body []byte) bool {
	var v any
	_ = json.Unmarshal(body, &v)
	n := 0
	jsonStrings(v, func(string) { n++ })
	tokens := 0
	for dec := json.NewDecoder(bytes.NewReader(body)); ; {
		tok, err := dec.Token()
		if err != nil {
			return tokens != n
		}
		if _, ok := tok.(json.Delim); !ok {
			tokens++
		}
	}
}

func FuzzCoding(f *testing.F) {
	f.Add("gzip, br", "x-gzip")
	f.Fuzz(func(t *testing.T, a, b string) {
		got, err := Coding([]string{a, b})
		if err != nil {
			_ = err.Error()
			return
		}
		again, err := Coding([]string{strings.Join(got, ", ")})
		if err != nil || !slices.Equal(got, again) {
			t.Errorf("%q is read again as %q, %v", got, again, err)
		}
	})
}

func FuzzDecoder(f *testing.F) {
	codings := [][]string{{"gzip"}, {"deflate"}, {"br"}, {"zstd"}, {"br", "gzip"}, {"zstd", "deflate"}}
	for i, c := range codings {
		f.Add(uint8(i), coded(f, prose(300), c...), uint64(5))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte, seed uint64) {
		c := codings[int(which)%len(codings)]
		l := Limits{Bytes: 1 << 20}
		once, err := decode(c, l, body, 0)
		again, err2 := decode(c, l, body, seed)
		if (err == nil) != (err2 == nil) || err == nil && !bytes.Equal(once, again) {
			t.Errorf("%q: %d bytes, %v; in pieces %d bytes, %v", c, len(once), err, len(again), err2)
		}
		if len(once) > 1<<20 {
			t.Errorf("%d bytes", len(once))
		}
	})
}

func FuzzWalk(f *testing.F) {
	for _, b := range [][]byte{
		tarOf(f, file{"a", "x"}), zipOf(f, true, 8, file{"a", "x"}, file{"b", "y"}), zipOf(f, true, 0, file{"a", "x"}),
		zipOf(f, false, 8, file{"z", string(zipOf(f, true, 8, file{"a", "x"}))}), coded(f, tarOf(f, file{"a", "x"}), "gzip"),
		overlapping(f, 3), oldSparse(tarOf(f, file{"a", ""}), 4096), multipartOf(f, "xx", []string{"a", string(coded(f, []byte("x"), "zstd"))}),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		l := Limits{Bytes: 1 << 20, Members: 100}
		got, err := walked(t, "", l, body)
		if Flat("", body) && (len(got) > 0 || err != nil) {
			t.Errorf("%q is not flat: %q, %v", body, got, err)
		}
		size := 0
		for _, text := range got {
			size += len(text)
		}
		if size > 1<<20+8*len(body)+64<<10 {
			t.Errorf("%d bytes become %d", len(body), size)
		}
	})
}

func FuzzGRPC(f *testing.F) {
	f.Add(slices.Concat(frame(0, []byte("a")), frame(1, coded(f, []byte("b"), "gzip"))), uint64(3))
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		read := func(seed uint64) (all []byte, err error) {
			s := NewSplitter(Media{"application/grpc", "gzip"}, Limits{Bytes: 1 << 20}, func(_, v []byte) bool {
				all = append(all, v...)
				return true
			})
			for p := range pieces(body, seed) {
				_, _ = s.Write(p)
			}
			return all, s.Close()
		}
		once, err := read(0)
		again, err2 := read(seed)
		if (err == nil) != (err2 == nil) || err == nil && !bytes.Equal(once, again) {
			t.Errorf("%q, %v; in pieces %q, %v", once, err, again, err2)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("A: =?utf-8?b?aGk?= =?utf-8?q?=41_?=; filename*=UTF-8''%41; x=\"y\\\"\"")
	f.Add("a=b&c=%41+%4&&=")
	f.Fuzz(func(t *testing.T, s string) {
		size := 0
		count := func(name, value []byte) bool {
			size += len(value)
			if value == nil {
				size += len(name)
			}
			return true
		}
		Header([]byte(s), count)
		Query([]byte(s), count)
		Cookies([]byte(s), count)
		Fields(s, []byte(s), count)
		if size > 6*len(s) {
			t.Errorf("%d bytes become %d", len(s), size)
		}
	})
}
