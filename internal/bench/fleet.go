package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// listed is what the bench reads of `list --json`.
type listed struct {
	ID        string `json:"id"`
	State     string `json:"state"`
	WardenPID int    `json:"warden_pid"`
}

func (b bottles) list(ctx context.Context) ([]listed, error) {
	argv := b.command("list", "--json")
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	var l []listed
	return l, json.Unmarshal(out, &l)
}

func (b bottles) stopAll() error {
	argv := b.command("stop", "--all")
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("stop --all: %w: %s", err, out)
	}
	return nil
}

// idle measures what one bottle's own processes hold while its agent sleeps.
func (b bottles) idle(ctx context.Context) (err error) {
	if _, err := timed(ctx, b.command("start", "sleep", "--yes", "--detach")); err != nil {
		return err
	}
	defer func() {
		if serr := b.stopAll(); err == nil {
			err = serr
		}
	}()
	time.Sleep(3 * time.Second) // let the launch's garbage go
	l, err := b.list(ctx)
	if err != nil {
		return err
	}
	if len(l) != 1 || l[0].WardenPID == 0 {
		return fmt.Errorf("%w: list shows %d bottles", errUnexpected, len(l))
	}
	pids := []int{l[0].WardenPID}
	corks, err := childrenOf(l[0].WardenPID)
	if err != nil {
		return err
	}
	pids = append(pids, corks...)
	var rss, pss int64
	for _, pid := range pids {
		sizes, err := memory(pid, "smaps_rollup")
		if err != nil {
			return err
		}
		rss, pss = rss+sizes["Rss"], pss+sizes["Pss"]
	}
	fmt.Printf("\nidle bottle, our own processes (warden and cork)\n")
	verdict("resident", fmt.Sprintf("%.1f MB (proportional %.1f MB)", mb(rss), mb(pss)), rss <= idleMemoryMax, fmt.Sprintf("at most %d MB", idleMemoryMax>>20))
	return nil
}

func mb(b int64) float64 { return float64(b) / (1 << 20) }

func childrenOf(pid int) ([]int, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, t := range tasks {
		text, err := os.ReadFile(t)
		if err != nil {
			continue // the thread ended
		}
		for f := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids, nil
}

// many starts n bottles at once and waits until all of them run, sealed.
func (b bottles) many(ctx context.Context, n int) (err error) {
	defer func() {
		if serr := b.stopAll(); err == nil {
			err = serr
		}
	}()
	began := time.Now()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			_, errs[i] = timed(ctx, b.command("start", "sleep", "--yes", "--detach"))
		})
	}
	wg.Wait()
	took := time.Since(began)
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	l, err := b.list(ctx)
	if err != nil {
		return err
	}
	running := 0
	for _, e := range l {
		if e.State == "running" {
			running++
		}
	}
	fmt.Printf("\n%d bottles at once\n", n)
	verdict("running, self-test passed", strconv.Itoa(running), running == n, "all "+strconv.Itoa(n))
	verdict("within", fmt.Sprintf("%.1f s", took.Seconds()), took <= manyWithin, fmt.Sprintf("at most %.0f s", manyWithin.Seconds()))
	return nil
}
