package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
)

// head is what both ends of the measurements read of an HTTP/1.1 message: its first line and how
// its body is framed (RFC 9112, section 6). Everything else is skipped, so that the ends cost
// little beside what stands between them.
type head struct {
	line    string // without its line end
	length  int64
	chunked bool
}

var (
	fieldLength = []byte("Content-Length:")
	fieldCoding = []byte("Transfer-Encoding:")
)

// readHead reads up to the empty line.
func readHead(r *bufio.Reader) (head, error) {
	line, err := readLine(r)
	if err != nil {
		return head{}, err
	}
	h := head{line: string(line)}
	for {
		line, err := readLine(r)
		if err != nil {
			return head{}, fmt.Errorf("a header breaks off: %w", err)
		}
		switch {
		case len(line) == 0:
			return h, nil
		case hasField(line, fieldLength):
			value := string(bytes.TrimSpace(line[len(fieldLength):]))
			if h.length, err = strconv.ParseInt(value, 10, 64); err != nil || h.length < 0 {
				return head{}, fmt.Errorf("a body of %q bytes: %w", value, errUnexpected)
			}
		case hasField(line, fieldCoding):
			h.chunked = true // nothing else is ever sent
		}
	}
}

// readLine returns a line without its end. It is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

func hasField(line, field []byte) bool {
	return len(line) >= len(field) && bytes.EqualFold(line[:len(field)], field)
}

// skipBody reads the body that h announces and returns how many bytes it had.
func skipBody(r *bufio.Reader, h head) (int64, error) {
	if !h.chunked {
		return io.CopyN(io.Discard, r, h.length)
	}
	n, err := io.Copy(io.Discard, httputil.NewChunkedReader(r))
	if err != nil {
		return n, err
	}
	for { // the trailer section, which the chunked reader leaves
		line, err := readLine(r)
		if err != nil || len(line) == 0 {
			return n, err
		}
	}
}
