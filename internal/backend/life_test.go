package backend

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheFirstReasonForTheEndCounts(t *testing.T) {
	t.Parallel()
	first, second := errors.New("its memory ran out"), errors.New("the wire was cut")
	for name, c := range map[string]struct {
		asked []error
		want  error
	}{
		"a limit":               {[]error{first}, first},
		"a limit, then another": {[]error{first, second}, first},
		"a limit, then a wish":  {[]error{first, nil}, first},
		"a wish":                {[]error{nil}, nil},
		"a wish, then its doom": {[]error{nil, first, second}, nil},
	} {
		l := NewLife()
		select {
		case <-l.Ending():
			t.Errorf("%s: it ends before anybody asked", name)
		default:
		}
		for _, reason := range c.asked {
			l.End(reason)
			<-l.Ending()
			if err := l.Err(); err != nil {
				t.Errorf("%s: it says why it ended before it has: %v", name, err)
			}
		}
		select {
		case <-l.Done():
			t.Errorf("%s: it is over while things run in it", name)
		default:
		}
		l.Over(nil)
		<-l.Done()
		if err := l.Err(); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: ended because of %v, want %v", name, err, c.want)
		}
	}
}

func TestStopWaitsForTheEndAndTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, left := NewLife(), errors.New("a mount is busy")
		go func() { // as a driver does
			<-l.Ending()
			time.Sleep(time.Minute)
			l.Over(left)
		}()
		begin := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := l.Stop(t.Context()); !errors.Is(err, left) {
					t.Errorf("stopped with %v", err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("they waited for %v", took)
		}
		if err := l.Stop(t.Context()); !errors.Is(err, left) {
			t.Errorf("stopped again with %v", err)
		}
		if err := l.Err(); err != nil {
			t.Errorf("what is left is no reason: %v", err)
		}
	})
}

func TestStopGivesUpWithItsContextAndTheEndGoesOn(t *testing.T) {
	t.Parallel()
	l, cause := NewLife(), errors.New("no more patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := l.Stop(ctx); !errors.Is(err, cause) {
		t.Errorf("stopped with %v", err)
	}
	select {
	case <-l.Ending():
	default:
		t.Error("the wish for an end went with the patience")
	}
	l.Over(nil)
	if err := l.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMayEndForManyReasonsAtOnce(t *testing.T) {
	t.Parallel()
	l := NewLife()
	reasons := []error{errors.New("a"), errors.New("b"), errors.New("c"), errors.New("d")}
	var all sync.WaitGroup
	for _, r := range reasons {
		all.Go(func() { l.End(r) })
		all.Go(func() { _ = l.Err() })
	}
	all.Go(func() { <-l.Ending(); l.Over(nil) })
	all.Wait()
	<-l.Done()
	if err := l.Err(); !slices.Contains(reasons, err) {
		t.Errorf("the reason is %v", err)
	}
}
