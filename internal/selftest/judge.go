package selftest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/inert"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// Version is the version of Record's format.
const Version = 1

// Summary is the outcome of a self-test in numbers.
type Summary struct {
	Probes int `json:"probes"`
	// Leaks are probes whose attack got through, and baits that were touched.
	Leaks int `json:"leaks"`
	// Unproven are probes that could not run, or whose control failed.
	Unproven int `json:"unproven"`
	// Took is from the request to the judgement, in nanoseconds.
	Took time.Duration `json:"took_ns"`
}

// String is what an operator sees of a self-test: "59 probes, 0 leaks, 6.2 ms".
func (s Summary) String() string {
	leaks := "leaks"
	if s.Leaks == 1 {
		leaks = "leak"
	}
	text := fmt.Sprintf("%d probes, %d %s", s.Probes, s.Leaks, leaks)
	if s.Unproven > 0 {
		text += fmt.Sprintf(", %d unproven", s.Unproven)
	}
	return fmt.Sprintf("%s, %.1f ms", text, float64(s.Took.Microseconds())/1000)
}

// Record is what selftest.json holds.
type Record struct {
	V       int                `json:"v"` // Version
	At      time.Time          `json:"at"`
	OK      bool               `json:"ok"`
	Error   string             `json:"error,omitempty"` // what Judge said, when not OK
	Summary Summary            `json:"summary"`
	Touched []string           `json:"touched,omitempty"`
	Results []wire.ProbeResult `json:"results"`
}

// NewRecord makes the record of a judged self-test. err is what Judge returned with summary. Texts
// of the results are bounded and made inert.
func NewRecord(at time.Time, results []wire.ProbeResult, bait *Bait, summary Summary, err error) Record {
	r := Record{V: Version, At: at.UTC(), OK: err == nil, Summary: summary, Touched: bait.Touched()}
	if err != nil {
		r.Error = err.Error()
	}
	for _, p := range results[:min(len(results), maxResults)] {
		p.Name, p.Attack, p.Control = shown(p.Name), shown(p.Attack), shown(p.Control)
		r.Results = append(r.Results, p)
	}
	return r
}

// maxResults bounds what is taken of a report that is far longer than it should be.
const maxResults = 4 * len(names)

// Judge decides whether the bottle is sealed. A nil error means that every probe of Names was
// reported once, in order, proven good, and that no bait was touched; anything else refuses the
// launch, and the error names each failing probe, what happened, and whether it was a leak or
// could not be proven. The Summary is filled in either way.
//
// The report comes from cork, which the agent has not yet met; it is distrusted nonetheless.
func Judge(results []wire.ProbeResult, bait *Bait) (Summary, error) {
	s := Summary{Probes: len(results)}
	if !bait.asked.IsZero() {
		s.Took = time.Since(bait.asked)
	}
	var errs []error
	if err := complete(results); err != nil {
		s.Unproven++
		errs = append(errs, err)
	}
	for _, p := range results[:min(len(results), maxResults)] {
		switch {
		case p.Leak:
			s.Leaks++
			errs = append(errs, fmt.Errorf("%s leaks: %s", shown(p.Name), shown(p.Attack)))
		case !p.OK:
			s.Unproven++
			errs = append(errs, fmt.Errorf("%s could not be proven: %s; control: %s", shown(p.Name), shown(p.Attack), shown(p.Control)))
		}
	}
	for _, t := range bait.Touched() {
		s.Leaks++
		errs = append(errs, fmt.Errorf("bait %s was touched: something in the bottle reached the host", t))
	}
	if len(errs) == 0 {
		return s, nil
	}
	return s, &Refusal{Summary: s, Problems: errs}
}

// Refusal is Judge's error: why this bottle may not be given to an agent.
type Refusal struct {
	Summary  Summary
	Problems []error // one for each failing probe or touched bait
}

// Error names every problem on a line of its own.
func (r *Refusal) Error() string {
	return "the bottle is not sealed: " + errors.Join(r.Problems...).Error()
}

// Unwrap returns the problems.
func (r *Refusal) Unwrap() []error { return r.Problems }

// complete compares the reported names with ours.
func complete(results []wire.ProbeResult) error {
	var got []string
	for _, p := range results[:min(len(results), maxResults)] {
		got = append(got, p.Name)
	}
	if slices.Equal(got, names[:]) {
		return nil
	}
	var missing, strange []string
	for _, n := range names {
		if !slices.Contains(got, n) {
			missing = append(missing, n)
		}
	}
	for _, n := range got {
		if !slices.Contains(names[:], n) {
			strange = append(strange, shown(n))
		}
	}
	switch {
	case len(missing) > 0 && len(strange) > 0:
		return fmt.Errorf("the bottle reported other probes than were asked for: missing %s; unknown %s", strings.Join(missing, ", "), strings.Join(strange, ", "))
	case len(missing) > 0:
		return fmt.Errorf("the bottle reported fewer probes than were asked for: missing %s", strings.Join(missing, ", "))
	case len(strange) > 0:
		return fmt.Errorf("the bottle reported probes nobody asked for: %s", strings.Join(strange, ", "))
	}
	return fmt.Errorf("the bottle reported its %d probes doubled or out of order", len(got))
}

// maxText bounds one text of a result, in bytes.
const maxText = 400

// shown makes a text from the bottle fit for a terminal and a log.
func shown(s string) string { return inert.Text(s, maxText) }
