package framing_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/claude-bottle/claude-bottle/internal/egress/framing"
)

// script is a connection that yields a reader's bytes.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Read(p []byte) (int, error) { return s.Reader.Read(p) }

const instead = "REFUSED / HTTP/1.1\r\n\r\n"

// read reads a connection that is sent in, in the pieces pace makes, and returns what came
// through, what was said against it, and how it ended.
func read(in string, pace func(io.Reader) io.Reader, size int) (string, string, error) {
	why := ""
	c := framing.NewConn(script{nil, pace(strings.NewReader(in))}, 2048, func(f *framing.Fault, whole bool) []byte {
		if !whole {
			return nil
		}
		why = f.Why
		return []byte(instead)
	})
	var out strings.Builder
	buf := make([]byte, size)
	for {
		n, err := c.Read(buf)
		out.Write(buf[:n])
		if err != nil {
			return out.String(), why, err
		}
	}
}

func whole(r io.Reader) io.Reader { return r }

var paces = map[string]struct {
	pace func(io.Reader) io.Reader
	size int
}{
	"whole": {whole, 4096}, "bytes": {iotest.OneByteReader, 4096}, "halves": {iotest.HalfReader, 512}, "small reads": {whole, 1},
}

const host = "Host: ok.test\r\n"

func TestWellFramedRequestsPassAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"GET / HTTP/1.1\r\n" + host + "\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET /\xc3\xbc?a=b;c HTTP/1.1\r\n" + host + "X-Empty:\r\nX-Wide:  \t a\tb \xe4 \r\n\r\n",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\na\n\x00\r\nGET / HTTP/1.1\r\n" + host + "\r\n",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\nGET /b HTTP/1.1\r\n" + host + "\r\n",
		"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nab\r\nc\r\n00A\r\n0123456789\r\n0\r\nGrpc-Status: 0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n",
		"GET http://ok.test/ HTTP/1.1\r\nHost: OK.test:80\r\n\r\n",
		"GET https://ok.test:443 HTTP/1.1\r\n" + host + "\r\n",
		"OPTIONS * HTTP/1.1\r\n" + host + "\r\n",
		"CONNECT ok.test:443 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01\n\n\x00",
		"M-SEARCH / HTTP/1.1\r\nhOsT:ok.test\r\n\r\n",
	} {
		for name, p := range paces {
			if out, why, err := read(in, p.pace, p.size); out != in || !errors.Is(err, io.EOF) {
				t.Errorf("%s, %q: got %q (%s), %v", name, in, out, why, err)
			}
		}
	}
}

func TestB08WhatHasTwoReadingsIsReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3000)
	chunks := "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct{ in, why string }{
		"CL.TE":                  {"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "both"},
		"TE.CL":                  {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "both"},
		"xchunked":               {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n", "exactly"},
		"Chunked":                {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n\r\n", "exactly"},
		"chunked, identity":      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, identity\r\n\r\n", "exactly"},
		"quoted":                 {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n\r\n", "exactly"},
		"two encodings":          {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-encoding: chunked\r\n\r\n", "more than one"},
		"encoding in 1.0":        {"POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", "1.0"},
		"two lengths":            {"POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", "more than one"},
		"length list":            {"POST / HTTP/1.1\r\n" + host + "Content-Length: 4, 4\r\n\r\nabcd", "plain number"},
		"plus":                   {"POST / HTTP/1.1\r\n" + host + "Content-Length: +4\r\n\r\nabcd", "plain number"},
		"minus":                  {"POST / HTTP/1.1\r\n" + host + "Content-Length: -4\r\n\r\nabcd", "plain number"},
		"space within":           {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1 0\r\n\r\nabcd", "plain number"},
		"hex length":             {"POST / HTTP/1.1\r\n" + host + "Content-Length: 0x4\r\n\r\nabcd", "plain number"},
		"octal length":           {"POST / HTTP/1.1\r\n" + host + "Content-Length: 010\r\n\r\nabcdefgh", "plain number"},
		"no length":              {"POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n", "plain number"},
		"huge length":            {"POST / HTTP/1.1\r\n" + host + "Content-Length: 9999999999999999999\r\n\r\n", "plain number"},
		"folded":                 {"GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n", "folded"},
		"folded first":           {"GET / HTTP/1.1\r\n X: a\r\n" + host + "\r\n", "folded"},
		"bare LF":                {"GET / HTTP/1.1\n" + host + "\r\n", "bare line feed"},
		"bare LF later":          {"GET / HTTP/1.1\r\n" + host + "X: a\nY: b\r\n\r\n", "bare line feed"},
		"bare LFs end the head":  {"GET / HTTP/1.1\r\n" + host + "\nGET /b HTTP/1.1\r\n\r\n", "bare line feed"},
		"bare CR":                {"GET / HTTP/1.1\r\n" + host + "X: a\rY: b\r\n\r\n", "control"},
		"NUL in a value":         {"GET / HTTP/1.1\r\n" + host + "X: a\x00\r\n\r\n", "control"},
		"NUL in a name":          {"GET / HTTP/1.1\r\n" + host + "X\x00: a\r\n\r\n", "not a name"},
		"space before the colon": {"GET / HTTP/1.1\r\n" + host + "Content-Length : 5\r\n\r\n", "not a name"},
		"no colon":               {"GET / HTTP/1.1\r\n" + host + "Content-Length\r\n\r\n", "not a name"},
		"no name":                {"GET / HTTP/1.1\r\n" + host + ": 5\r\n\r\n", "not a name"},
		"space in the target":    {"GET /a b HTTP/1.1\r\n" + host + "\r\n", "first line"},
		"two spaces":             {"GET  / HTTP/1.1\r\n" + host + "\r\n", "first line"},
		"tab":                    {"GET\t/\tHTTP/1.1\r\n" + host + "\r\n", "first line"},
		"control in the target":  {"GET /\x01 HTTP/1.1\r\n" + host + "\r\n", "control"},
		"CR in the target":       {"GET /\rX HTTP/1.1\r\n" + host + "\r\n", "control"},
		"HTTP/0.9":               {"GET /\r\n", "first line"},
		"HTTP/1.2":               {"GET / HTTP/1.2\r\n" + host + "\r\n", "speaks neither"},
		"http/1.1":               {"GET / http/1.1\r\n" + host + "\r\n", "speaks neither"},
		"prior knowledge":        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 without TLS"},
		"an empty line first":    {"\r\nGET / HTTP/1.1\r\n" + host + "\r\n", "first line"},
		"two hosts":              {"GET / HTTP/1.1\r\n" + host + host + "\r\n", "more than one Host"},
		"no host":                {"GET / HTTP/1.1\r\n\r\n", "no Host"},
		"other host":             {"GET http://ok.test/ HTTP/1.1\r\nHost: c2.test\r\n\r\n", "host mismatch"},
		"other port":             {"GET http://ok.test:81/ HTTP/1.1\r\nHost: ok.test\r\n\r\n", "host mismatch"},
		"CONNECT with a body":    {"CONNECT ok.test:443 HTTP/1.1\r\n" + host + "Content-Length: 4\r\n\r\nabcd", "CONNECT"},
		"long head":              {"GET / HTTP/1.1\r\n" + host + "X: " + long + "\r\n\r\n", "too long"},
		"long line":              {"GET /" + long, "too long"},
		"chunk extension":        {chunks + "5;x=y\r\nabcde\r\n0\r\n\r\n", "hexadecimal"},
		"last chunk's extension": {chunks + "0;x=y\r\n\r\n", "hexadecimal"},
		"0x size":                {chunks + "0x5\r\nabcde\r\n0\r\n\r\n", "hexadecimal"},
		"signed size":            {chunks + "+5\r\nabcde\r\n0\r\n\r\n", "hexadecimal"},
		"spaced size":            {chunks + "5 \r\nabcde\r\n0\r\n\r\n", "hexadecimal"},
		"no size":                {chunks + "\r\nabcde\r\n0\r\n\r\n", "hexadecimal"},
		"overflowing size":       {chunks + "fffffffffffffffff\r\nabcde", "hexadecimal"},
		"many zeros":             {chunks + "0000000000000005\r\nabcde\r\n0\r\n\r\n", "hexadecimal"},
		"bare LF after a size":   {chunks + "5\nabcde\r\n0\r\n\r\n", "bare line feed"},
		"chunk too long":         {chunks + "5\r\nabcdef\r\n0\r\n\r\n", "longer"},
		"chunk ends in LF":       {chunks + "5\r\nabcde\n0\r\n\r\n", "bare line feed"},
		"trailing length":        {chunks + "0\r\nContent-Length: 5\r\n\r\n", "trailer"},
		"trailing encoding":      {chunks + "0\r\ntransfer-ENCODING: chunked\r\n\r\n", "trailer"},
		"trailing host":          {chunks + "0\r\nHost: c2.test\r\n\r\n", "trailer"},
		"trailing key":           {chunks + "0\r\nAuthorization: Bearer x\r\n\r\n", "trailer"},
		"trailing proxy key":     {chunks + "0\r\nProxy-Authorization: x\r\n\r\n", "trailer"},
		"huge trailers":          {chunks + "0\r\n" + strings.Repeat("X-A: b\r\n", 400) + "\r\n", "too long"},
	} {
		good := "GET /first HTTP/1.1\r\n" + host + "\r\n"
		out, why, err := read(good+c.in, whole, 8192)
		if out != good+instead || !errors.Is(err, io.EOF) || !strings.Contains(why, c.why) {
			t.Errorf("%s: got %q (%s), %v", name, out, why, err)
		}
		// In pieces, a head is still replaced as a whole; a body that went ahead is never complete.
		for _, pace := range []string{"bytes", "halves"} {
			out, why, err := read(c.in, paces[pace].pace, paces[pace].size)
			fault, ok := errors.AsType[*framing.Fault](err)
			switch {
			case out == instead && errors.Is(err, io.EOF) && strings.Contains(why, c.why):
			case ok && strings.Contains(fault.Why, c.why) && strings.HasPrefix(out, chunks) && !strings.HasSuffix(out, "\r\n0\r\n\r\n"):
			default:
				t.Errorf("%s, %s: got %q (%s), %v", name, pace, out, why, err)
			}
		}
	}
}

func TestRawGivesBackWhatNobodyRead(t *testing.T) {
	t.Parallel()
	const head, rest = "CONNECT ok.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", "\x16rest"
	c := framing.NewConn(script{nil, iotest.OneByteReader(strings.NewReader(head + rest))}, 2048, nil)
	got := make([]byte, 7)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if left := string(c.Raw()); left != head[7:] {
		t.Errorf("left %q", left)
	}
}

// FuzzConn checks that pieces make no difference to what passes, and that what passes is a prefix
// of what was sent.
func FuzzConn(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST http://a/ HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nabcde"))
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\nHost: b\r\n\r\nabcde"))
	f.Fuzz(func(t *testing.T, in []byte) {
		want, why, _ := read(string(in), whole, 1<<20)
		want, replaced := strings.CutSuffix(want, instead)
		if !strings.HasPrefix(string(in), want) || replaced != (why != "") {
			t.Fatalf("%q became %q (%s)", in, want, why)
		}
		for name, p := range paces {
			got, why2, err := read(string(in), p.pace, p.size)
			got, _ = strings.CutSuffix(got, instead)
			if !strings.HasPrefix(string(in), got) {
				t.Fatalf("%s: %q became %q", name, in, got)
			}
			_, cut := errors.AsType[*framing.Fault](err)
			if (why2 != "" || cut) != replaced {
				t.Fatalf("%s: %q passes in one way only: %s, %v", name, in, why2, err)
			}
			if !replaced && got != want {
				t.Fatalf("%s: %q became %q and %q", name, in, want, got)
			}
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	in := "GET /v1/models?limit=20 HTTP/1.1\r\nHost: api.example.test\r\nUser-Agent: claude-cli/2.0 (external, cli)\r\nAccept: application/json\r\nAuthorization: Bearer bottle-placeholder-0001\r\nX-Request-Id: 0123456789abcdef0123456789abcdef\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\r\n"
	r := strings.NewReader(in)
	c := framing.NewConn(script{nil, r}, 64<<10, nil)
	buf := make([]byte, 4096)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		r.Reset(in)
		if n, err := c.Read(buf); n != len(in) || err != nil {
			b.Fatal(n, err)
		}
	}
}
