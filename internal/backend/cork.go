package backend

import (
	"fmt"
	"os"
	"runtime"
)

// NoCorkError says that there is no program of ours that a bottle's Linux could run.
type NoCorkError struct{ Arch, Path string }

func (e *NoCorkError) Error() string {
	return fmt.Sprintf("bottles there are of linux/%s, this program is for %s/%s, and there is none for them at %s", e.Arch, runtime.GOOS, runtime.GOARCH, e.Path)
}

// Hint says how to get it.
func (e *NoCorkError) Hint() string {
	return fmt.Sprintf("in the project's folder: GOOS=linux GOARCH=%s CGO_ENABLED=0 go build -o %s ./cmd/claude-bottle", e.Arch, e.Path)
}

// CorkFor is our program as a Linux of that processor can run it: exe, or the one beside it that is
// named for the processor. The error is a *NoCorkError.
func CorkFor(exe, arch string) (string, error) {
	if runtime.GOOS == "linux" && runtime.GOARCH == arch {
		return exe, nil
	}
	beside := exe + "-linux-" + arch
	if st, err := os.Stat(beside); err != nil || !st.Mode().IsRegular() {
		return "", &NoCorkError{arch, beside}
	}
	return beside, nil
}
