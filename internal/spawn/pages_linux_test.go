package spawn

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// fileKB is how much of the files that this process has mapped is in memory, in kB.
func fileKB(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssFile:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssFile")
	return 0
}

func TestOnlyWhatWasNeverWrittenToIsLetGoOf(t *testing.T) {
	t.Parallel()
	const rest = "Size:  4 kB\nRss:  4 kB\n"
	const none, some = "Anonymous:             0 kB\nSwap:                  0 kB\n", "Anonymous:             4 kB\nSwap:                  0 kB\n"
	for name, c := range map[string]struct {
		smaps string
		want  []span
	}{
		"code":                     {"00400000-00401000 r-xp 00000000 fe:00 12 /bin/x\n" + rest + none, []span{{0x400000, 0x401000}}},
		"what a linker filled in":  {"00400000-00401000 r--p 00000000 fe:00 12 /bin/x\n" + rest + some, nil},
		"what was swapped out":     {"00400000-00401000 r--p 00000000 fe:00 12 /bin/x\n" + rest + "Anonymous: 0 kB\nSwap: 4 kB\n", nil},
		"what can be written to":   {"00400000-00401000 rw-p 00000000 fe:00 12 /bin/x\n" + rest + none, nil},
		"what is shared":           {"00400000-00401000 r--s 00000000 fe:00 12 /bin/x\n" + rest + none, nil},
		"memory":                   {"c000000000-c000400000 r--p 00000000 00:00 0 \n" + rest + none, nil},
		"the kernel's":             {"7fff0000-7fff1000 r-xp 00000000 00:00 0 [vdso]\n" + rest + none, nil},
		"a kernel that tells less": {"00400000-00401000 r-xp 00000000 fe:00 12 /bin/x\n" + rest, nil},
		"nothing":                  {"", nil},
		"another after it": {"00400000-00401000 r-xp 00000000 fe:00 12 /bin/x\n" + rest + none + "00500000-00501000 r--p 00000000 fe:00 12 /bin/x\n" + rest + some,
			[]span{{0x400000, 0x401000}}},
	} {
		if got := clean(c.smaps); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// touch has all of this program's files in memory: what the kernel counts is exact to some dozens of pages only,
// and what else the program does meanwhile brings some back.
func touch(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range clean(string(text)) {
		// Before Linux 5.14 there is no such advice, and only what the test itself has used is in memory.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(m.begin), uintptr(m.end-m.begin), unix.MADV_POPULATE_READ)
	}
}

// The program goes on while its pages are let go of, and afterwards.
func TestWhatWaitsHoldsLessOfItsProgram(t *testing.T) {
	var working sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		working.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					if got, err := strconv.Atoi(strings.Repeat("1", 1+n%9)); err != nil || got%10 != 1 {
						t.Errorf("%d, %v", got, err)
					}
				}
			}
		})
	}
	for range 20 {
		letGo()
	}
	close(stop)
	working.Wait()
	touch(t)
	before := fileKB(t)
	letGo()
	if after := fileKB(t); after >= before {
		t.Errorf("%d kB of it were in memory before, %d after", before, after)
	}
}
