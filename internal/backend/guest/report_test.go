package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// told is a report's frame with any body.
func told(body string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
}

func TestAReportIsReadAndNotAByteMore(t *testing.T) {
	t.Parallel()
	for _, r := range []Report{
		{Landlock: 5},
		{Failed: "mount: no such device\n\x00ü"},
		{Landlock: 1, Narrow: true, Notes: []string{"one", "", strings.Repeat("long ", 10000)}},
	} {
		var sent bytes.Buffer
		if err := r.Send(&sent); err != nil {
			t.Fatal(err)
		}
		sent.WriteString("the wire")
		got, err := Receive(iotest.OneByteReader(&sent))
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v, %v; want %+v", got, err, r)
		}
		if sent.String() != "the wire" {
			t.Errorf("of what follows there is %q", sent.String())
		}
	}
}

func TestAReportThatIsNoneIsAnError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sent string
		is   error // nil for any
	}{
		"silence":              {"", io.EOF},
		"half a head":          {"\x00\x00", io.ErrUnexpectedEOF},
		"half a body":          {told(`{"landlock":1}`)[:10], io.ErrUnexpectedEOF},
		"a head alone":         {told(`{"landlock":1}`)[:4], io.EOF},
		"nothing":              {told(""), nil},
		"no JSON":              {told("sh: not found"), nil},
		"another kind of JSON": {told(`["a"]`), nil},
		"two of them":          {told(`{}{}`), nil},
		"words of an image's":  {"Hello, I am your image. I talk before everybody else does.", nil},
		"more than allowed":    {"\x00\x01\x00\x01" + strings.Repeat(" ", 64<<10), nil},
		"the greatest number":  {"\xff\xff\xff\xff", nil},
	} {
		r := strings.NewReader(c.sent)
		if got, err := Receive(r); err == nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	most := told(`{"failed":"` + strings.Repeat("x", maxReport-len(`{"failed":""}`)) + `"}`)
	if _, err := Receive(strings.NewReader(most)); err != nil {
		t.Errorf("the longest one: %v", err)
	}
}

// FuzzReport reads what anything in a container may say before cork does.
func FuzzReport(f *testing.F) {
	f.Add([]byte(told(`{"landlock":5,"narrow":true,"notes":["a"]}`) + "more"))
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bytes.NewReader(sent)
		got, err := Receive(r)
		if err != nil {
			return
		}
		if read := len(sent) - r.Len(); read != 4+int(binary.BigEndian.Uint32(sent)) || read > 4+maxReport {
			t.Errorf("%d bytes of %q were read", read, sent)
		}
		var again bytes.Buffer
		if err := got.Send(&again); err != nil {
			t.Fatal(err)
		}
		if back, err := Receive(&again); err == nil && !reflect.DeepEqual(back, got) {
			t.Errorf("%+v came back as %+v", got, back)
		}
	})
}
