package cli

import (
	"fmt"
	"os"

	"github.com/claude-bottle/claude-bottle/internal/state"
)

// tellKept says, once a bottle is gone, what is kept of it and where. Of an agent that ended well
// and left no work nothing is.
func (a *app) tellKept(dir *state.Dir) {
	m, err := dir.Metadata()
	if err != nil {
		return // it is not kept
	}
	st := a.sys.styleFor(a.sys.Stderr)
	how := "ended"
	if m.Exit != nil && *m.Exit != 0 {
		how = fmt.Sprintf("exited with code %d", *m.Exit)
	}
	putln(a.sys.Stderr, st.dim(fmt.Sprintf("%s %s and is kept; what it said: claude-bottle logs %s", m.ID, how, m.ID)))
	if work := dir.Path(state.WorkDir); hasEntries(work) {
		putln(a.sys.Stderr, st.dim("its files: "+safe(work)))
	}
}

func hasEntries(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}
