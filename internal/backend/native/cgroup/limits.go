//go:build linux

package cgroup

import (
	"fmt"
	"strconv"
	"time"
)

// Limits are a group's bounds; zero fields bound nothing.
type Limits struct {
	Memory int64   // bytes, swap included
	PIDs   int64   // processes and threads
	CPUs   float64 // cores' worth of time
}

// cpuPeriod is the time over which a share of the processors is measured, minCPU the smallest
// share of it the kernel takes.
const (
	cpuPeriod = 100 * time.Millisecond
	minCPU    = time.Millisecond
)

// knob is a control file and what is written to it.
type knob struct {
	file, value string
	// without is the note for the operator when the kernel doesn't have the file; where it is
	// empty, that is an error.
	without string
}

// setting is how one limit is set, in order, in either version.
type setting struct {
	controller string
	v1, v2     []knob
}

const noSwapLimit = "the memory limit does not count swap: this kernel has no swap accounting"

// wanted returns the settings for the limits that are set.
func wanted(l Limits) []setting {
	var out []setting
	if l.Memory > 0 {
		n := strconv.FormatInt(l.Memory, 10)
		out = append(out, setting{
			memory,
			[]knob{{"memory.limit_in_bytes", n, ""}, {"memory.memsw.limit_in_bytes", n, noSwapLimit}},
			// Here memory and swap are counted apart, so the bottle gets none of the latter.
			[]knob{{"memory.max", n, ""}, {"memory.swap.max", "0", noSwapLimit}},
		})
	}
	if l.PIDs > 0 {
		k := []knob{{"pids.max", strconv.FormatInt(l.PIDs, 10), ""}}
		out = append(out, setting{pids, k, k})
	}
	if l.CPUs > 0 {
		period := cpuPeriod.Microseconds()
		quota := max(int64(l.CPUs*float64(period)), minCPU.Microseconds())
		out = append(out, setting{
			cpu,
			[]knob{{"cpu.cfs_period_us", strconv.FormatInt(period, 10), ""}, {"cpu.cfs_quota_us", strconv.FormatInt(quota, 10), ""}},
			[]knob{{"cpu.max", fmt.Sprintf("%d %d", quota, period), ""}},
		})
	}
	return out
}
