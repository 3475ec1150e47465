package smolvm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// Versions we know the command line of. Before 1.9 files could not be given owners, policies were
// lost on the way to a machine, sockets of one were seen by others. What a later 1.x does differently
// is caught where it counts: options are looked for, machines are looked at, bottles prove themselves.
const (
	leastMinor  = 9
	leastReason = "1.9.0 or a later 1.x is needed: before it mounted sockets could be mixed up between machines and policies lost"
	update      = "update it: curl -sSL https://smolmachines.com/install.sh | bash"
)

// needed are options of "machine create" without which there is no bottle.
var needed = []string{"--from", "--mount-socket", "--label"}

// checked is what Check found, kept for as long as the program is the same file.
type checked struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	Time    time.Time `json:"time"`
	Version string    `json:"version"`
}

// checkedFile is where it is kept, in the data folder.
const checkedFile = "checked.json"

// questionLimit bounds a question that involves no machine.
const questionLimit = 20 * time.Second

// Check refuses programs that are no smolvm, or one we don't know the command line of, and returns the
// version. It asks the program once for as long as that is the same file.
func (t Tool) Check(ctx context.Context) (version string, err error) {
	st, err := os.Stat(t.Path)
	if err != nil {
		return "", fmt.Errorf("smolvm: %w", err)
	}
	now := checked{Path: t.Path, Size: st.Size(), Time: st.ModTime()}
	keep := filepath.Join(t.Data, checkedFile)
	if b, err := os.ReadFile(keep); err == nil {
		var then checked
		if json.Unmarshal(b, &then) == nil && then.Path == now.Path && then.Size == now.Size && then.Time.Equal(now.Time) {
			return then.Version, nil
		}
	}
	if now.Version, err = t.ask(ctx); err != nil {
		return "", err
	}
	b, err := json.Marshal(now)
	if err == nil {
		_ = os.WriteFile(keep, b, 0o600) // it is asked again where it could not be kept
	}
	return now.Version, err
}

func (t Tool) ask(ctx context.Context) (string, error) {
	out, err := t.run(ctx, questionLimit, "--version")
	if err != nil {
		return "", err
	}
	name, version, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
	if !ok || name != "smolvm" {
		return "", &Error{Why: fmt.Sprintf("%s is another program of that name: it calls itself %q", t.Path, inert.Text(strings.TrimSpace(string(out)), 60)), Fix: "name the right one: export " + ProgramVariable + "=/path/of/smolvm"}
	}
	if why := outdated(version); why != "" {
		return "", &Error{Why: fmt.Sprintf("smolvm at %s is version %s; %s", t.Path, inert.Text(version, 40), why), Fix: update}
	}
	help, err := t.run(ctx, questionLimit, "machine", "create", "--help")
	if err != nil {
		return "", err
	}
	for _, option := range needed {
		if !strings.Contains(string(help), option) {
			return "", &Error{Why: fmt.Sprintf("smolvm %s at %s has no %s for machine create", inert.Text(version, 40), t.Path, option), Fix: update}
		}
	}
	return version, nil
}

// outdated says why a version won't do; empty when it will.
func outdated(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) != 3 {
		return "which is none we know"
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	switch {
	case err1 != nil || err2 != nil:
		return "which is none we know"
	case major > 1:
		return "its command line is not known to this version of claude-bottle, which knows 1.9 and later 1.x"
	case major < 1, minor < leastMinor:
		return leastReason
	}
	return ""
}
