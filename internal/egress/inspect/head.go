package inspect

import (
	"bytes"
	"hash/maphash"
	"net/http"
	"slices"
	"sync"

	"github.com/claude-bottle/claude-bottle/internal/policy"
	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/scan/unpack"
)

// Head inspects a request's target and header fields. Host is the name it goes to and path its
// escaped path. The fields named in replaced are not sent.
func (in *Inspector) Head(r *http.Request, host, path string, s policy.Scan, replaced ...string) Report {
	j := in.judge(s)
	t := texts.Get().(*text)
	defer texts.Put(t)
	t.reset()
	in.target(j, t, r, host, path)
	if !j.rep.Stopped() {
		in.fields(j, t, r.Header, replaced)
	}
	return j.report()
}

// target inspects what a request asks for, and of whom.
func (in *Inspector) target(j *judging, t *text, r *http.Request, host, path string) {
	t.surface(inHost, host)
	t.surface(inPath, path)
	if r.URL.RawQuery != "" {
		t.surface("the query", r.URL.RawQuery)
	}
	in.surfaces(j, t)
	for segment := range bytes.SplitSeq(t.bytes[len(host)+1:len(host)+1+len(path)], []byte("/")) {
		if len(segment) > 0 {
			t.parts = append(t.parts, segment)
		}
	}
	segments := int64(0) // bytes of the path, of what is joined
	for _, p := range t.parts {
		segments += int64(len(p))
	}
	if r.URL.RawQuery != "" {
		unpack.Fields(formType, []byte(r.URL.RawQuery), func(_, value []byte) bool {
			t.parts = append(t.parts, bytes.Clone(value))
			return len(t.parts) < maxParts
		})
	}
	j.joined(func(at int64) string {
		if at < segments {
			return inTarget
		}
		return "the values of the query together"
	}, t.parts, true)
	in.remember(j, host+path, t.parts)
}

// fields inspects header fields. A program sends the same ones with every request, so those in which
// nothing was found at all are known again.
func (in *Inspector) fields(j *judging, t *text, h http.Header, replaced []string) {
	t.reset()
	// In order of their names: that of the wire is not known any more, and chance must not decide.
	for name := range h {
		if !slices.Contains(replaced, name) {
			t.names = append(t.names, name)
		}
	}
	slices.Sort(t.names)
	for _, name := range t.names {
		for _, v := range h[name] {
			t.field(name, v)
		}
	}
	sum := maphash.Bytes(in.seed, t.bytes) | 1 // never the empty slot's
	slot := &in.innocent[sum>>1%uint64(len(in.innocent))]
	if len(t.names) == 0 || slot.Load() == sum {
		return
	}
	found := in.surfaces(j, t)
	for _, name := range t.names {
		for _, v := range h[name] {
			t.parts = append(t.parts, []byte(v))
		}
	}
	if j.joined(always("the header fields together"), t.parts, false); found == 0 && len(j.found) == 0 {
		slot.Store(sum)
	}
}

// surfaces scans what t holds and returns how much was found, whatever becomes of it.
func (in *Inspector) surfaces(j *judging, t *text) int {
	j.found = in.scanner.Scan(j.found[:0], t.bytes)
	for _, f := range j.found {
		at := t.at(centre(f))
		if f.Kind == scan.Shape && at.expects(f.Rule) {
			continue
		}
		j.take(Found{f, at.at(centre(f))}, false)
	}
	return len(j.found)
}

const formType = "application/x-www-form-urlencoded"

// maxParts bounds how many values of one request are looked at as one.
const maxParts = 4096

// remember adds a request's values to what the bottle has sent before, of which they may be the next
// piece. What was found whole is not a piece of anything.
func (in *Inspector) remember(j *judging, key string, parts [][]byte) {
	if j.rep.Stopped() || len(j.rep.Redacted) > 0 {
		return
	}
	for _, f := range in.memory.Add(key, parts...) {
		j.take(Found{f, "this request, with others before it,"}, false)
	}
}

// text is a request's head as one text, with the places its surfaces begin at.
type text struct {
	bytes    []byte
	surfaces []surface
	names    []string
	parts    [][]byte
}

// surface is a part of a head. A header field has a name.
type surface struct {
	start       int64
	where, name string
}

// at names the place of an offset in the surface as a denial does: "the query", "the header field
// X-Token". A name that is itself what was found is not told.
func (s surface) at(offset int64) string {
	switch {
	case s.name == "":
		return s.where
	case offset < s.start+int64(len(s.name)):
		return "the name of a header field"
	}
	return "the header field " + s.name
}

// expects reports whether what looks like that is nothing remarkable there: a session's own token, which
// upstream gave out itself, where it is sent back; the random number of RFC 6455, section 4.1.
func (s surface) expects(shape string) bool {
	switch s.name {
	case "Authorization", "Cookie":
		return shape == "jwt"
	case "Sec-Websocket-Key":
		return shape == guess
	}
	return false
}

var texts = sync.Pool{New: func() any { return new(text) }}

func (t *text) reset() {
	t.bytes, t.surfaces, t.names, t.parts = t.bytes[:0], t.surfaces[:0], t.names[:0], t.parts[:0]
}

func (t *text) surface(where, content string) {
	t.surfaces = append(t.surfaces, surface{int64(len(t.bytes)), where, ""})
	t.bytes = append(append(t.bytes, content...), '\n')
}

func (t *text) field(name, value string) {
	t.surfaces = append(t.surfaces, surface{int64(len(t.bytes)), "", name})
	t.bytes = append(append(t.bytes, name...), ": "...)
	t.bytes = append(append(t.bytes, value...), '\n')
}

// at finds the surface that holds an offset.
func (t *text) at(offset int64) surface {
	i := len(t.surfaces) - 1
	for i > 0 && t.surfaces[i].start > offset {
		i--
	}
	return t.surfaces[i]
}
