package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Read returns the events of one segment of a log, in order. It checks their form, not their
// chain: that is Verify's work. A line that was being written when the log was read is left out.
func Read(r io.Reader) ([]Event, error) {
	in := newLines(r)
	var events []Event
	for {
		line, err := in.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errUnfinished) {
			return events, nil
		}
		if err != nil {
			return events, fmt.Errorf("audit line %d: %w", len(events)+1, err)
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return events, fmt.Errorf("audit line %d is no event: %w", len(events)+1, err)
		}
		events = append(events, e)
	}
}
