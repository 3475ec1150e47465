package spawn

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// helperVerb makes the test binary play the helper.
const helperVerb = "spawn-test-helper"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == helperVerb {
		os.Exit(helper(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// helper copies the file "in" to the file "out".
func helper(args []string) int {
	files, err := Received(args)
	if err != nil {
		return 1
	}
	in, err1 := files.Take("in")
	out, err2 := files.Take("out")
	_, missing := files.Take("nothing")
	if err1 != nil || err2 != nil || missing == nil {
		return 1
	}
	if _, err := io.Copy(out, in); err != nil {
		return 1
	}
	return 0
}

func TestHelperGetsItsFilesByName(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h := Helper{Executable: exe, Verb: helperVerb, Dir: "/", Env: []string{}}
	h.Donate("out", outW)
	h.Donate("in", inR)
	if _, err := h.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{inR, outW} {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(inW, "through"); err != nil {
		t.Fatal(err)
	}
	if err := inW.Close(); err != nil {
		t.Fatal(err)
	}
	if err := outR.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(outR)
	if err != nil || string(got) != "through" {
		t.Errorf("helper answered %q, %v", got, err)
	}
}

func TestReceivedRefusesWhatNobodyHandedOver(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"--files=a"}, {"--files=a:x"}, {"--files=a:1"}, {"--files=a:9999"}} {
		if _, err := Received(args); err == nil {
			t.Errorf("Received(%q) was content", args)
		}
	}
	if _, err := (Files{}).Take("boot"); err == nil || !strings.Contains(err.Error(), "boot") {
		t.Errorf("missing file: %v", err)
	}
}

func TestCleanupRunsBackwardsOnceAndKeepsEveryError(t *testing.T) {
	t.Parallel()
	var c Cleanup
	var order []int
	boom := errors.New("boom")
	for i := range 3 {
		c.Add(func() error {
			order = append(order, i)
			if i == 1 {
				return boom
			}
			return nil
		})
	}
	if err := c.Run(); !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
	if err := c.Run(); err != nil || len(order) != 3 || order[0] != 2 || order[2] != 0 {
		t.Errorf("order %v, second run %v", order, err)
	}
}
