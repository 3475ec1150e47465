// Package doctor asks the host whether it can hold bottles: one Check a question, each with what
// was found and, where something is missing, what to type. Asking is cheap and leaves nothing
// behind; the namespaces it tries are gone with the process that tried them.
package doctor

import "os/exec"

// Status is how a check went.
type Status string

// The statuses. Warn is something to know, or to mend for a part of the work; with a Fail no
// bottle starts.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Check is one answer.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`        // what was found, one line
	Fix    string `json:"fix,omitempty"` // what to type or do; may be several lines
}

// Failed reports whether any of the checks failed.
func Failed(checks []Check) bool {
	for _, c := range checks {
		if c.Status == Fail {
			return true
		}
	}
	return false
}

// Program looks for a program that is good to have; missing is only a warning, and fix says what
// it would be for.
func Program(name, fix string) Check {
	path, err := exec.LookPath(name)
	if err != nil {
		return Check{name, Warn, "not found on your PATH", fix}
	}
	return Check{name, OK, path, ""}
}
