package bottle

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "researcher", "a-1", "x9", strings.Repeat("a", maxName)} {
		if n, err := ParseName(good); err != nil || n.String() != good {
			t.Errorf("ParseName(%q) = %v, %v", good, n, err)
		}
	}
	// F14: nothing that a shell, a path or an option parser would read as more than a name.
	for _, bad := range []string{"", "A", "1a", "-a", "a b", "a/b", "..", "a;$(id)", "a\n", "--upload-pack=x", "é", strings.Repeat("a", maxName+1)} {
		if n, err := ParseName(bad); err == nil {
			t.Errorf("ParseName(%q) = %q, want an error", bad, n)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	agent, err := ParseName("helper")
	if err != nil {
		t.Fatal(err)
	}
	id, err := NewID(agent, bytes.NewReader([]byte{0, 10, 35, 36, 255}))
	if err != nil || id.String() != "helper-0az03" {
		t.Fatalf("NewID = %q, %v", id, err)
	}
	back, err := ParseID(id.String())
	if err != nil || back != id {
		t.Errorf("ParseID(%q) = %v, %v", id, back, err)
	}
	if _, err := NewID(agent, strings.NewReader("1234")); err == nil {
		t.Error("NewID was content with 4 random bytes")
	}
	for _, bad := range []string{"", "helper", "helper-", "helper-ABCDE", "helper-abcdef", "../etc-abcde", "-abcde", "helper-ab/de"} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) = %q, want an error", bad, id)
		}
	}
}

func TestIDsTravelAsJSON(t *testing.T) {
	t.Parallel()
	var v struct{ ID ID }
	if err := json.Unmarshal([]byte(`{"ID":"helper-abcde"}`), &v); err != nil || v.ID.String() != "helper-abcde" {
		t.Errorf("got %v, %v", v.ID, err)
	}
	if err := json.Unmarshal([]byte(`{"ID":"../../x-abcde"}`), &v); err == nil {
		t.Error("a path passed for an ID")
	}
}

func TestABottleLivesOnce(t *testing.T) {
	t.Parallel()
	legal := map[[2]State]bool{
		{Creating, Running}: true, {Creating, Stopping}: true, {Creating, Failed}: true,
		{Running, Stopping}: true, {Running, Failed}: true,
		{Stopping, Stopped}: true, {Stopping, Failed}: true,
	}
	for from := Creating; from <= Failed; from++ {
		for to := Creating; to <= Failed; to++ {
			got, err := from.To(to)
			if legal[[2]State{from, to}] != (err == nil) {
				t.Errorf("%s to %s: %v", from, to, err)
			}
			if err != nil && got != from {
				t.Errorf("a refused move changed %s to %s", from, got)
			}
		}
		text, _ := from.MarshalText()
		var back State
		if err := back.UnmarshalText(text); err != nil || back != from {
			t.Errorf("%s came back as %s, %v", from, back, err)
		}
	}
}
