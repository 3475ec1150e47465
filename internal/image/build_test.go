package image_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/image"
	"github.com/moby/moby/client"
)

func TestACancelledBuildLeavesNothing(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		s := w.dockerfile("RUN echo first > /first", "RUN echo at work; sleep 20")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		stopped := errors.New("the operator pressed Ctrl-C")
		var began time.Time
		w.onLine = func(line string) {
			if line == "at work" {
				began = time.Now()
				cancel(stopped)
			}
		}
		_, err := w.ensure(ctx, s)
		if !errors.Is(err, stopped) {
			t.Fatalf("got %v, want the cause", err)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("took %v", took)
		}
		w.nothingTagged(t)
		w.foundRemovesTheRest(t)
	})
}

func TestAFailingStepIsShownWithItsOutput(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		s := w.dockerfile("RUN echo first > /first", `RUN { for i in $(seq 40); do echo "line $i of it"; done; printf 'bad\033[2Jthing\n'; } >&2; exit 7`)
		_, err := w.ensure(t.Context(), s)
		failed, ok := errors.AsType[*image.Error](err)
		if !ok {
			t.Fatalf("got %v, want an *image.Error", err)
		}
		text := err.Error()
		for _, want := range []string{s.Ref, s.Dockerfile, "RUN { for i in", "7", "line 40 of it", `bad\x1b[2Jthing`} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in:\n%s", want, text)
			}
		}
		if strings.Contains(text, "line 3 of it") || strings.Contains(text, "\x1b") || len(failed.Tail) > 20 {
			t.Errorf("too much in:\n%s", text)
		}
		if !strings.Contains(hint(err), s.Dockerfile) {
			t.Errorf("hint %q", hint(err))
		}
		w.nothingTagged(t)
		w.foundRemovesTheRest(t)
	})
}

// nothingTagged fails when a name points to what a failed build left.
func (w *world) nothingTagged(t *testing.T) {
	t.Helper()
	time.Sleep(500 * time.Millisecond) // an engine would be at it still
	for _, i := range w.labelled(t.Context()) {
		for _, tag := range i.RepoTags {
			if !strings.HasPrefix(tag, "<none>") {
				t.Errorf("a failed build left the name %s", tag)
			}
		}
	}
	if _, err := w.e.API.ImageInspect(t.Context(), "claude-bottle:"+w.id); err == nil {
		t.Error("a failed build left its name")
	}
}

// foundRemovesTheRest fails when something is left of a build that Found does not know.
func (w *world) foundRemovesTheRest(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		mine := map[string]bool{}
		for _, id := range w.left(t.Context()) {
			mine[id] = true
		}
		if len(mine) == 0 {
			return
		}
		made, err := image.Found(t.Context(), w.e)
		if err != nil {
			t.Fatal(err)
		}
		var last error
		for _, m := range made {
			if mine[m.ID] {
				last = errors.Join(last, image.Remove(t.Context(), w.e, m.ID))
				delete(mine, m.ID)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("left and not found: %v; %v", mine, last)
		}
		// The engine may be clearing its build container away; Podman 4 lets a step that nobody
		// waits for come to its end first.
		time.Sleep(200 * time.Millisecond)
	}
}

func TestALoudBuildIsLoggedInFull(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		w.must(w.dockerfile("RUN seq -f 'line number %g' 10000"))
		if !w.shown("line number 9999") {
			t.Error("the sink did not get all lines")
		}
		for _, want := range []string{"line number 1\n", "line number 5000\n", "line number 10000\n"} {
			if !strings.Contains(w.log.String(), want) {
				t.Errorf("the log lacks %q", want)
			}
		}
	})
}

func TestALineOfTenMegabytesIsBounded(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		w.must(w.dockerfile(`RUN head -c 10000000 /dev/zero | tr '\0' x; echo; echo the end`))
		for _, l := range w.lines {
			if len(l) > 1024 {
				t.Errorf("a line of %d bytes", len(l))
			}
		}
		if !w.shown("xxxxxxxx…") || !w.shown("the end") && !e.BuildKit { // which cuts what a step prints
			t.Errorf("the sink got %d lines and not these", len(w.lines))
		}
		if n := strings.Count(w.log.String(), "x"); n < 10_000_000 && !e.BuildKit {
			t.Errorf("the log holds %d bytes of ten million", n)
		}
	})
}

func TestHostileOutputIsInert(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		w.must(w.dockerfile(`RUN printf 'one\033]52;c;aGk=\007two\nover\rwritten\n\342\200\256reversed\n'`))
		for _, want := range []string{`one\x1b]52;c;aGk=\x07two`, `over\rwritten`, `\u202ereversed`} {
			if !w.shown(want) {
				t.Errorf("%q is missing in %q", want, w.lines)
			}
		}
		for _, l := range w.lines {
			if strings.ContainsAny(l, "\x1b\a\r\n\u202e") {
				t.Errorf("not inert: %q", l)
			}
		}
	})
}

func TestAnEngineThatGoesAwayMidBuild(t *testing.T) {
	t.Parallel()
	overEngines(t, func(t *testing.T, e image.Engine) {
		w := newWorld(t, e)
		variable := map[string]string{"docker": "CLAUDE_BOTTLE_TEST_DOCKER", "podman": "CLAUDE_BOTTLE_TEST_PODMAN"}[e.Kind]
		link := between(t, strings.TrimPrefix(prerequisite(t, variable), "unix://"))
		api, err := client.New(client.WithHost("unix://" + link.path))
		if err != nil {
			t.Fatal(err)
		}
		defer api.Close()
		w.onLine = func(line string) {
			if line == "at work" {
				link.cut()
			}
		}
		s := w.dockerfile(fmt.Sprintf("RUN echo at work; sleep 3; echo %s", w.id))
		there := w.e
		w.e.API = api
		_, err = w.ensure(t.Context(), s)
		w.e = there
		if !errors.Is(err, image.ErrEngineGone) || hint(err) == "" {
			t.Fatalf("got %v, hint %q", err, hint(err))
		}
		w.onLine = nil
		if img := w.must(s); !img.Built {
			t.Errorf("after the engine's return: %+v", img)
		}
	})
}
