package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away: nobody is left to tell
}

// failure answers an error in one API's shape.
type failure func(w http.ResponseWriter, status int, kind, message string)

func anthropicFailure(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Request-Id", "req_standin")
	writeJSON(w, status, map[string]any{
		"type":       "error",
		"error":      map[string]string{"type": kind, "message": message},
		"request_id": "req_standin",
	})
}

func openaiFailure(w http.ResponseWriter, status int, kind, message string) {
	var code any
	switch status {
	case http.StatusUnauthorized:
		kind, code = "invalid_request_error", "invalid_api_key"
	case http.StatusNotFound, http.StatusRequestEntityTooLarge:
		kind = "invalid_request_error"
	}
	writeJSON(w, status, map[string]any{
		"error": map[string]any{"message": message, "type": kind, "param": nil, "code": code},
	})
}

// failureFor guesses, on a path both might have, which API the client believes to speak to.
func failureFor(r *http.Request) failure {
	if r.Header.Get("Anthropic-Version") != "" || r.Header.Get("X-Api-Key") != "" {
		return anthropicFailure
	}
	if strings.HasPrefix(r.URL.Path, "/v1/responses") || strings.HasPrefix(r.URL.Path, "/v1/models") {
		return openaiFailure
	}
	return anthropicFailure
}

// decode reads r's body as one JSON object into v and answers the failure itself when it can't.
func decode(w http.ResponseWriter, r *http.Request, fail failure, v any) bool {
	data, err := io.ReadAll(r.Body)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		fail(w, http.StatusRequestEntityTooLarge, "request_too_large", "Request exceeds the maximum size")
		return false
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid_request_error", "The request body is not valid JSON: "+err.Error())
		return false
	}
	return true
}

// events writes server-sent events, each one flushed.
type events struct {
	w    http.ResponseWriter
	ctrl *http.ResponseController
}

func startEvents(w http.ResponseWriter) events {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	return events{w, http.NewResponseController(w)}
}

// send writes one event; v's "type" is its name. A client that went away is noticed by the
// handler's next write and by nobody else.
func (e events) send(v map[string]any) {
	_, _ = fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", v["type"], jsonOf(v)) // see above
	_ = e.ctrl.Flush()                                                       // see above
}

// jsonOf encodes v, which is made of strings, numbers, lists and maps and so can't fail to.
func jsonOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("standin: encode: %v", err))
	}
	return string(data)
}

// pieces cuts text as a model streams it: a few words at a time.
func pieces(text string) []string {
	var out []string
	for len(text) > 0 {
		n := min(len(text), 12)
		if i := strings.IndexByte(text[n:], ' '); i >= 0 {
			n += i
		} else {
			n = len(text)
		}
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}
