package spawn

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// letGo has the kernel take back the pages of this program's files that its start has touched: what only
// waits needs few of them, and finds those in the page cache again. Pages that were written to would be
// lost (madvise(2), MADV_DONTNEED), as those that a dynamic linker has filled in: a mapping with any is left
// alone.
func letGo() {
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return // then they stay
	}
	for _, m := range clean(string(text)) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(m.begin), uintptr(m.end-m.begin), unix.MADV_DONTNEED) // then they stay
	}
}

// span is a part of this process's memory.
type span struct{ begin, end uint64 }

// clean finds, in what /proc/PID/smaps says (proc(5)), the private mappings of files that can't be written to
// and of which nothing ever was.
func clean(smaps string) (out []span) {
	var now span
	var file, anonymous, swap bool
	flush := func() {
		if file && anonymous && swap {
			out = append(out, now)
		}
		file, anonymous, swap = false, false, false
	}
	for line := range strings.Lines(smaps) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 5 && strings.Contains(fields[0], "-") && !strings.HasSuffix(fields[0], ":"):
			// "00400000-00d2e000 r-xp 00000000 fe:00 1234  /path"
			flush()
			from, to, _ := strings.Cut(fields[0], "-")
			begin, err1 := strconv.ParseUint(from, 16, 64)
			end, err2 := strconv.ParseUint(to, 16, 64)
			now = span{begin, end}
			file = err1 == nil && err2 == nil && end > begin && fields[4] != "0" &&
				!strings.Contains(fields[1], "w") && strings.HasSuffix(fields[1], "p")
		case len(fields) == 3 && fields[0] == "Anonymous:":
			anonymous = fields[1] == "0"
		case len(fields) == 3 && fields[0] == "Swap:":
			swap = fields[1] == "0"
		}
	}
	flush()
	return out
}
