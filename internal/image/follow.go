package image

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// stepsMax bounds how many of BuildKit's steps are kept apart; the output of those beyond it is
// shown without being kept for an error.
const stepsMax = 1000

// follower reads the engine's answer to a build, and knows at the end what failed and how.
type follower struct {
	out *output
	// failure is the engine's word; empty when the build succeeded. Step and tail are then where
	// it failed, and the last that step printed.
	failure, step string
	tail          tail

	plain    lines // of a classic builder
	vertexes map[string]*running
}

// running is a step of BuildKit's: several may be at work at once.
type running struct {
	name string
	done bool
	out  lines
	tail tail
}

var (
	// A classic builder's, and Podman's: "Step 2/4 : RUN true", "STEP 2/4: RUN true".
	classicStep = lazily(`^(?:Step|STEP) (\d+/\d+) ?: (.*)$`)
	// BuildKit's: "[2/4] RUN true", "[stage 2/4] RUN true".
	vertexStep = lazily(`^\[([^\]]*\d+/\d+)\] (.*)$`)
)

func (f *follower) follow(r io.Reader, out *output) error {
	f.out = out
	f.vertexes = map[string]*running{}
	f.plain.each = f.classic
	err := messages(r, f.message)
	f.plain.flush()
	return err
}

func (f *follower) message(m message) {
	if failure := m.failure(); failure != "" {
		f.failure = clean(failure)
		f.out.raw([]byte(failure + "\n"))
		return
	}
	switch {
	case m.ID == "moby.buildkit.trace":
		var data []byte
		if json.Unmarshal(m.Aux, &data) != nil {
			return // what the build comes to does not hang on it
		}
		t, err := parseTrace(data)
		if err != nil {
			f.out.say(fmt.Sprintf("(output that can't be read: %v)", err))
			return
		}
		f.trace(t)
	case m.Stream != "":
		f.out.raw([]byte(m.Stream))
		// The classic builder colours what a step writes to its standard error.
		text := strings.TrimPrefix(m.Stream, "\x1b[91m")
		f.plain.write([]byte(strings.TrimSuffix(text, "\x1b[0m")))
	}
}

// classic takes a line of a classic builder.
func (f *follower) classic(line string) {
	if s := classicStep().FindStringSubmatch(line); s != nil {
		f.step, f.tail = "step "+s[1]+": "+s[2], nil
		f.out.show(f.step)
		return
	}
	f.tail.add(line)
	f.out.show(line)
}

func (f *follower) trace(t trace) {
	for _, v := range t.vertexes {
		f.vertex(v)
	}
	for _, l := range t.logs {
		f.out.raw(l.data)
		if s := f.vertexes[l.vertex]; s != nil {
			s.out.write(l.data)
			continue
		}
		whole := lines{each: f.out.show}
		whole.write(l.data)
		whole.flush()
	}
}

func (f *follower) vertex(v vertex) {
	s := f.vertexes[v.digest]
	if s == nil {
		if !v.started && !v.cached || len(f.vertexes) == stepsMax {
			return
		}
		s = &running{name: stepName(v.name)}
		s.out.each = func(line string) {
			s.tail.add(line)
			f.out.show(line)
		}
		f.vertexes[v.digest] = s
		if v.cached {
			f.out.say(s.name + " (cached)")
		} else {
			f.out.say(s.name)
		}
	}
	if v.failure != "" {
		s.out.flush()
		// Steps that were called off because another failed say so later.
		if f.step == "" {
			f.step, f.tail = s.name, s.tail
		}
	}
	if v.completed && !s.done {
		s.done = true
		s.out.flush()
		s.tail = nil
	}
}

// stepName is a BuildKit step in the words of all builders.
func stepName(name string) string {
	name = clean(name)
	if s := vertexStep().FindStringSubmatch(name); s != nil {
		return "step " + s[1] + ": " + s[2]
	}
	return name
}
