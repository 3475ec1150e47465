package usage

import (
	"encoding/json"
	"strings"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

const (
	// maxCount bounds a number an upstream tells: no answer has a hundred million tokens, so a
	// larger one is nonsense and left out.
	maxCount = 100_000_000
	// maxModel bounds a model's name, in bytes.
	maxModel = 80
	// maxText bounds the spelling of a key or a name that is kept, in bytes.
	maxText = 128
	// maxPath is how deep the deepest count lies: response, usage, input_tokens_details, all in one.
	maxPath = 4
)

// count is one of the numbers an answer tells.
type count uint8

// The counts. Anthropic tells cached tokens beside the input, OpenAI as parts of it.
const (
	inputCount count = iota
	outputCount
	cacheReadCount
	cacheWriteCount
	cacheWrite1hCount
	readPartCount
	writePartCount
	reasoningCount
	counts
)

// tally is what the documents of one answer told.
type tally struct {
	// spelled is the model's name as JSON has it, model the same for people.
	spelled, model string
	n              [counts]int64
	counted        bool
}

// note keeps the largest value: counts in a stream are running totals, and some servers send
// zeros before or after the real ones.
func (t *tally) note(c count, v int64) {
	if v <= maxCount {
		t.n[c] = max(t.n[c], v)
		t.counted = true
	}
}

func (t *tally) name(spelled []byte, cut bool) {
	if string(spelled) == t.spelled {
		return
	}
	t.spelled = string(spelled)
	s := t.spelled
	if cut {
		s += "…"
	}
	if strings.IndexByte(s, '\\') >= 0 {
		var plain string
		if json.Unmarshal([]byte(`"`+s+`"`), &plain) == nil {
			s = plain
		}
	}
	t.model = inert.Text(s, maxModel)
}

func (t *tally) usage() (Usage, bool) {
	n := &t.n
	u := Usage{Model: t.model}
	u.Input = max(0, n[inputCount]-n[readPartCount]-n[writePartCount])
	u.CacheRead = n[cacheReadCount] + n[readPartCount]
	u.CacheWrite = max(n[cacheWriteCount], n[cacheWrite1hCount]) + n[writePartCount]
	u.CacheWrite1h = n[cacheWrite1hCount]
	u.Output = n[outputCount]
	u.Reasoning = min(n[reasoningCount], u.Output)
	return u, t.counted || t.model != ""
}

// member is what a key stands for in the object it was found in. The objects come first, so that a
// path is made of members too.
type member uint8

const (
	unknown member = iota
	rootObject
	answerObject
	usageObject
	creationObject
	inputObject
	outputObject
	modelName
	typeName
	firstCount // and the count it stands for on top
)

// find returns what key is in an object.
func find(in member, key []byte) member {
	switch in {
	case rootObject:
		switch string(key) {
		case "model":
			return modelName
		case "type":
			return typeName
		case "usage":
			return usageObject
		case "message", "response":
			return answerObject
		}
	case answerObject:
		switch string(key) {
		case "model":
			return modelName
		case "usage":
			return usageObject
		}
	case usageObject:
		switch string(key) {
		case "input_tokens", "prompt_tokens":
			return firstCount + member(inputCount)
		case "output_tokens", "completion_tokens":
			return firstCount + member(outputCount)
		case "cache_read_input_tokens":
			return firstCount + member(cacheReadCount)
		case "cache_creation_input_tokens":
			return firstCount + member(cacheWriteCount)
		case "cache_creation":
			return creationObject
		case "input_tokens_details", "prompt_tokens_details":
			return inputObject
		case "output_tokens_details", "completion_tokens_details":
			return outputObject
		}
	case creationObject:
		if string(key) == "ephemeral_1h_input_tokens" {
			return firstCount + member(cacheWrite1hCount)
		}
	case inputObject:
		switch string(key) {
		case "cached_tokens":
			return firstCount + member(readPartCount)
		case "cache_write_tokens":
			return firstCount + member(writePartCount)
		}
	case outputObject:
		if string(key) == "reasoning_tokens" {
			return firstCount + member(reasoningCount)
		}
	}
	return unknown
}

// piecemeal reports whether events of a type carry a piece of an answer and never its usage. The
// answer comes in them, so it is worth not reading them.
func piecemeal(kind []byte) bool {
	s := string(kind) // does not escape
	return strings.HasSuffix(s, ".delta") || strings.HasPrefix(s, "content_block_")
}

// where says in what a document is.
type where uint8

const (
	between  where = iota // tokens, in an object that is on a path
	inKey                 // a string that is a key there
	inText                // a string that is kept
	inString              // a string that is not
	inNumber              // a number that is kept
	inOther               // a value that is on no path, outside its strings
	atEnd                 // nothing more is of interest
)

// document reads one JSON document as it passes and notes the few members that tell a model's name
// and its counts. It builds nothing and checks nothing: of what is no JSON it reads something or
// nothing, in the same memory.
type document struct {
	at      where
	escaped bool // after a backslash in a string
	wantKey bool
	path    [maxPath]member
	depth   int    // of path
	skipped int    // open objects and lists of a value that is on no path
	value   member // what comes next stands for
	text    [maxText]byte
	kept    int // of text
	cut     bool
	number  int64

	tally
}

// next makes ready for another document of the same answer.
func (d *document) next() {
	d.at, d.escaped, d.wantKey = between, false, false
	d.depth, d.skipped, d.value = 0, 0, unknown
}

// write reads the next bytes of the document.
func (d *document) write(p []byte) {
	for i := 0; i < len(p); {
		switch d.at {
		case atEnd:
			return
		case between:
			d.token(p[i])
			i++
		case inKey, inText, inString:
			i += d.string(p[i:])
		case inNumber:
			c := p[i]
			switch {
			case '0' <= c && c <= '9':
				if d.number <= maxCount {
					d.number = d.number*10 + int64(c-'0')
				}
				i++
			case c == '.', c == 'e', c == 'E':
				d.at, d.value = between, unknown // no count
			default:
				d.note(count(d.value-firstCount), d.number)
				d.at, d.value = between, unknown
			}
		case inOther:
			i += d.pass(p[i:])
		}
	}
}

// token reads a byte between strings and numbers.
func (d *document) token(c byte) {
	switch c {
	case '"':
		switch {
		case d.depth == 0:
			d.at = atEnd // a document that is no object
		case d.wantKey:
			d.at, d.kept, d.cut = inKey, 0, false
		case d.value == modelName, d.value == typeName:
			d.at, d.kept, d.cut = inText, 0, false
		default:
			d.at = inString
		}
	case '{':
		switch {
		case d.depth == 0:
			d.open(rootObject)
		case !d.wantKey && rootObject < d.value && d.value < modelName && d.depth < maxPath:
			d.open(d.value)
		default:
			d.at, d.skipped = inOther, 1
		}
	case '[':
		d.at, d.skipped = inOther, 1
	case '}', ']':
		d.depth--
		d.value, d.wantKey = unknown, false
		if d.depth <= 0 {
			d.at = atEnd
		}
	case ',':
		d.value, d.wantKey = unknown, true
	case ':':
		d.wantKey = false
	case ' ', '\t', '\r', '\n':
	case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if d.value >= firstCount && !d.wantKey {
			d.at, d.number = inNumber, int64(c-'0')
		}
	default:
		d.value = unknown // null, or a number that is negative
	}
}

func (d *document) open(m member) {
	d.path[d.depth] = m
	d.depth++
	d.value, d.wantKey = unknown, true
}

// ends marks the bytes that end a run of plain ones inside a string.
var ends = [256]bool{'"': true, '\\': true}

// string reads on in a string, and returns how far.
func (d *document) string(p []byte) int {
	n := 0
	if d.escaped {
		d.escaped, n = false, 1
	}
	for n < len(p) && !ends[p[n]] {
		n++
	}
	if d.at != inString {
		d.keep(p[:n])
	}
	if n == len(p) {
		return n
	}
	if p[n] == '\\' {
		d.escaped = true
		if d.at != inString {
			d.keep(p[n : n+1])
		}
		return n + 1
	}
	d.close()
	return n + 1
}

func (d *document) keep(p []byte) {
	n := copy(d.text[d.kept:], p)
	d.kept += n
	d.cut = d.cut || n < len(p)
}

// close ends a string.
func (d *document) close() {
	text := d.text[:d.kept]
	switch {
	case d.at == inString && d.skipped > 0:
		d.at = inOther
		return
	case d.at == inKey:
		if d.value = unknown; !d.cut {
			d.value = find(d.path[d.depth-1], text)
		}
	case d.at == inText && d.value == modelName:
		d.name(text, d.cut)
	case d.at == inText && piecemeal(text):
		d.at = atEnd
		return
	}
	d.at = between
}

// brackets marks the bytes that matter outside strings in a value that is on no path.
var brackets = [256]int8{'{': 1, '[': 1, '}': -1, ']': -1, '"': 2}

// pass reads on in a value that is on no path, and returns how far.
func (d *document) pass(p []byte) int {
	for i, c := range p {
		switch b := brackets[c]; b {
		case 0:
		case 2:
			d.at = inString
			return i + 1
		default:
			if d.skipped += int(b); d.skipped == 0 {
				if d.at = between; d.depth == 0 {
					d.at = atEnd
				}
				return i + 1
			}
		}
	}
	return len(p)
}
