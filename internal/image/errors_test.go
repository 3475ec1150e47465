package image

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestTheEnginesWordsBecomeOurs(t *testing.T) {
	t.Parallel()
	m := &maker{Engine: Engine{Kind: "podman"}}
	for _, tc := range []struct {
		err       error
		say, hint string
		gone      bool
	}{
		{errors.New("write /x: no space left on device"), "the engine's disk is full", "podman system prune", false},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), "the engine went away", "give the same command again", true},
		{errors.New("Error response from daemon: odd\x1b[2J"), `build x: odd\x1b[2J`, "", false},
	} {
		err := m.engineError("build x", tc.err)
		hint := ""
		if e, ok := errors.AsType[*Error](err); ok {
			hint = e.Hint()
		}
		if !strings.Contains(err.Error(), tc.say) || !strings.Contains(hint, tc.hint) || errors.Is(err, ErrEngineGone) != tc.gone {
			t.Errorf("%v became %v, hint %q", tc.err, err, hint)
		}
	}
	full := m.failed("build x", build{fix: "correct it"}, follower{failure: "no space left on device", step: "step 1/2: RUN true", tail: tail{"last"}})
	if e, ok := errors.AsType[*Error](full); !ok || !strings.Contains(e.Hint(), "make room") || !strings.HasSuffix(e.Error(), "\n  last") || !strings.Contains(e.Error(), "build x: step 1/2") {
		t.Errorf("a full disk in a step: %v", full)
	}
}
