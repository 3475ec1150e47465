package egress

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// maxGraphQL bounds a body that is looked into for its operations, in bytes.
const maxGraphQL = 1 << 20

// graphQL reads the request's body, keeps it for whoever forwards it, and says what kind its
// operations are of. A rule that allows only reading allows it only when all of them are queries.
func (x *exchange) graphQL() string {
	r := x.r
	if r.Method != http.MethodPost || r.Body == nil || r.ContentLength < 0 || r.ContentLength > maxGraphQL || len(r.Header["Content-Encoding"]) > 0 {
		return ""
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return ""
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(body), r.Body}
	return graphQLKind(body)
}

// graphQLKind is "query" when the body holds one document whose operations all are queries, the kind
// of the first that is something else, and "" when it can't be told. A body that two servers could
// read in two ways tells nothing.
func graphQLKind(body []byte) string {
	text, ok := onlyQuery(body)
	if !ok {
		return ""
	}
	kind := ""
	depth := 0
	for t := newGraphQLTokens(text); ; {
		token, ok := t.next()
		switch {
		case !ok:
			return ""
		case token == "":
			if depth != 0 {
				return ""
			}
			return kind
		case token == "{":
			if depth == 0 && !t.named {
				kind = "query" // the short form
			}
			depth++
		case token == "}":
			if depth--; depth < 0 {
				return ""
			}
			t.named = t.named && depth > 0
		case depth > 0 || t.named:
			// inside an operation, or between its name and its selection
		case token == "query":
			kind, t.named = "query", true
		case token == "fragment":
			t.named = true
		case token == "mutation", token == "subscription":
			return token
		default:
			return ""
		}
	}
}

// onlyQuery returns the one member "query" of a JSON object. Another spelling of the name, or the
// name twice, would leave the choice to the server.
func onlyQuery(body []byte) (string, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", false
	}
	text, found := "", false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return "", false
		}
		if s, _ := name.(string); !strings.EqualFold(s, "query") {
			if s != "operationName" && s != "variables" && s != "extensions" {
				return "", false
			}
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil || s == "extensions" && bytes.Contains(skipped, []byte("persistedQuery")) {
				return "", false
			}
			continue
		}
		if found || name != "query" || d.Decode(&text) != nil {
			return "", false
		}
		found = true
	}
	if _, err := d.Token(); err != nil {
		return "", false
	}
	_, err := d.Token()
	return text, found && err == io.EOF
}

// graphQLTokens cuts a document into names and braces (GraphQL, October 2021, section 2.1). Strings
// and comments are left out, everything else is one character.
type graphQLTokens struct {
	rest  string
	named bool // an operation or fragment has begun at the top
}

func newGraphQLTokens(text string) *graphQLTokens { return &graphQLTokens{rest: text} }

// next returns the next token, "" at the end, and false for what is no document.
func (t *graphQLTokens) next() (string, bool) {
	for t.rest != "" {
		switch c := t.rest[0]; {
		case c == '#':
			end := strings.IndexAny(t.rest, "\r\n")
			if end < 0 {
				end = len(t.rest)
			}
			t.rest = t.rest[end:]
		case strings.HasPrefix(t.rest, `"""`):
			if !t.block() {
				return "", false
			}
		case c == '"':
			if !t.quoted() {
				return "", false
			}
		case nameByte(c):
			n := 1
			for n < len(t.rest) && nameByte(t.rest[n]) {
				n++
			}
			token := t.rest[:n]
			t.rest = t.rest[n:]
			return token, true
		case c == '{' || c == '}':
			t.rest = t.rest[1:]
			return string(c), true
		default:
			t.rest = t.rest[1:]
		}
	}
	return "", true
}

// block passes over a block string.
func (t *graphQLTokens) block() bool {
	rest := t.rest[3:]
	for {
		i := strings.Index(rest, `"""`)
		if i < 0 {
			return false
		}
		escaped := i > 0 && rest[i-1] == '\\'
		rest = rest[i+3:]
		if !escaped {
			t.rest = rest
			return true
		}
	}
}

// quoted passes over a string, which ends on its line.
func (t *graphQLTokens) quoted() bool {
	for i := 1; i < len(t.rest); i++ {
		switch t.rest[i] {
		case '\\':
			i++
		case '\r', '\n':
			return false
		case '"':
			t.rest = t.rest[i+1:]
			return true
		}
	}
	return false
}

func nameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
