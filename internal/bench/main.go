// Command bench measures claude-bottle beside its rivals, in one run on one machine, and prints
// ratios: `make bench`. It is a program and not a test because a shared machine's clock proves
// nothing by itself; only figures taken in turns beside each other compare.
//
//	bench -bottle bin/claude-bottle [-only start,egress,stream,idle] [-rounds 5] [-runs 20] [-many 50]
//
// What is measured runs in processes of its own, so that each one's CPU time and memory are its
// own; some of them are this program again (helper.go). docs/BENCHMARKS.md says what the rows mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	// Whatever ends the bench, a closed pipe included, its processes and its folder go with it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the parts are told.
type options struct {
	dir     string // a folder of the bench's own, removed at its end
	rounds  int    // turns of each contender
	profile string // where an engine writes its CPU profile; empty for nowhere
	binary  string
	runs    int
	many    int
}

// part is a set of measurements that can be had alone.
type part struct {
	name     string
	run      func(context.Context, options) error
	profiled bool // it writes options.profile
}

// parts in the order they are run.
var parts = []part{
	{"start", starting, false},
	{"egress", small, true},
	{"stream", stream, true},
	{"idle", crowd, false},
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) > 0 {
		if mode, ok := helperModes[args[0]]; ok {
			return help(ctx, mode, args[1:])
		}
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.binary, "bottle", "bin/claude-bottle", "our program")
	only := flags.String("only", "start,egress,stream,idle", "the parts to run, with commas between")
	flags.IntVar(&o.rounds, "rounds", 5, "turns each contender has on the network")
	flags.StringVar(&o.profile, "cpuprofile", "", "write the engine's CPU profile of part egress, or else stream, to this file")
	flags.IntVar(&o.runs, "runs", 20, "rounds of starting; each runs every contender once")
	flags.IntVar(&o.many, "many", 50, "bottles at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted, err := choose(*only)
	if err != nil {
		return err
	}
	if o.rounds < 1 || o.runs < 1 {
		return errors.New("-rounds and -runs must be 1 or more")
	}
	if o.dir, err = os.MkdirTemp("", "claude-bottle-bench-"); err != nil {
		return err
	}
	defer func() {
		if rerr := os.RemoveAll(o.dir); err == nil {
			err = rerr
		}
	}()
	fmt.Println(machine())
	for _, p := range parts {
		if !wanted[p.name] {
			continue
		}
		if err := p.run(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if p.profiled {
			o.profile = "" // it is not to be written over
		}
	}
	return nil
}

// machine says what the figures were taken on, and how busy it was with other things.
func machine() string {
	model, busy := runtime.GOARCH, ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		one, _, _ := strings.Cut(string(text), " ")
		busy = ", load average " + one + " beforehand"
	}
	return fmt.Sprintf("%d CPUs (%s), %s %s%s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version(), busy)
}

// choose parses -only.
func choose(list string) (map[string]bool, error) {
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return nil, fmt.Errorf("-only: there is no part %q: start, egress, stream and idle are", name)
		}
		wanted[name] = true
	}
	return wanted, nil
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

func verdict(what, got string, ok bool, want string) {
	word := "ok"
	if !ok {
		word = "MISSED"
	}
	fmt.Printf("  %s: %s (%s: %s)\n", what, got, want, word)
}

var errUnexpected = errors.New("unexpected answer")
