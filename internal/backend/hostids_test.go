package backend

import (
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

func TestHostIDs(t *testing.T) {
	t.Parallel()
	seen := map[int]string{}
	for _, text := range []string{"a-00000", "a-00001", "b-00000", "researcher-m3hxd"} {
		id, err := bottle.ParseID(text)
		if err != nil {
			t.Fatal(err)
		}
		base := HostIDs(id)
		if base < FirstHostID || base+hostIDSlot > LastHostID || base%hostIDSlot != 0 {
			t.Errorf("%q has ids from %#x", id, base)
		}
		if other, ok := seen[base]; ok {
			t.Errorf("%q and %q share their ids", id, other)
		}
		if base != HostIDs(id) {
			t.Errorf("%q has other ids each time", id)
		}
		seen[base] = text
	}
}
