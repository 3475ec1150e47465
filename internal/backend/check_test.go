package backend

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

func TestWhatNoBackendCanMakeIsRefused(t *testing.T) {
	t.Parallel()
	id, err := bottle.ParseID("a-00000")
	if err != nil {
		t.Fatal(err)
	}
	mounts := func(m ...Mount) func(*Spec) { return func(s *Spec) { s.Mounts = m } }
	at := func(target string) func(*Spec) { return mounts(Mount{Source: "/src", Target: target}) }
	from := func(source string) func(*Spec) { return mounts(Mount{Source: source, Target: "/x"}) }
	file := func(path string) func(*Spec) { return func(s *Spec) { s.Files = []File{{Path: path}} } }
	called := func(name string) func(*Spec) { return func(s *Spec) { s.Hostname = name } }
	many := func(n int) func(*Spec) {
		return func(s *Spec) {
			for i := range n {
				s.Mounts = append(s.Mounts, Mount{Source: "/src", Target: fmt.Sprintf("/m/%d", i)})
			}
		}
	}
	files := func(sizes ...int) func(*Spec) {
		return func(s *Spec) {
			for i, n := range sizes {
				s.Files = append(s.Files, File{Path: fmt.Sprintf("/f/%d", i), Data: make([]byte, n)})
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*Spec)
		words  string // of the refusal; empty where there is none
	}{
		"the least there is":           {func(*Spec) {}, ""},
		"a usual one":                  {mounts(Mount{"/home/me/.claude", Home, true}, Mount{"/src", Workspace, true}, Mount{"/src", "/opt/x", false}), ""},
		"no id":                        {func(s *Spec) { s.ID = bottle.ID{} }, "no id"},
		"no name":                      {called(""), "host name"},
		"a long name":                  {called(strings.Repeat("a", 63)), ""},
		"too long a name":              {called(strings.Repeat("a", 64)), "host name"},
		"a name with an end of line":   {called("a\nb"), "host name"},
		"a name with a space":          {called("a b"), "host name"},
		"a name that isn't ASCII":      {called("flasche-ü"), "host name"},
		"a name with dots and hyphens": {called("My-1.bottle"), ""},
		"a relative source":            {from("src"), "absolute, clean"},
		"no source":                    {from(""), "absolute, clean"},
		"a source that climbs":         {from("/src/../etc"), "absolute, clean"},
		"a source with a slash behind": {from("/src/"), "absolute, clean"},
		"all of the host":              {from("/"), ""}, // foolish, and the caller's to know
		"no target":                    {at(""), "below /"},
		"the root":                     {at("/"), "below /"},
		"a relative target":            {at("home"), "below /"},
		"a target that climbs":         {at("/home/../etc"), "below /"},
		"a target out of the root":     {at("/../x"), "below /"},
		"a target with two slashes":    {at("//etc"), "below /"},
		"a target with a zero byte":    {at("/a\x00b"), "below /"},
		"/proc":                        {at("/proc"), "kernel's"},
		"in /proc":                     {at("/proc/self/attr"), "kernel's"},
		"/sys":                         {at("/sys"), "kernel's"},
		"in /dev":                      {at("/dev/shm"), "kernel's"},
		"beside /proc":                 {at("/process"), ""},
		"two at one place":             {mounts(Mount{"/a", "/x", false}, Mount{"/b", "/x", true}), "two mounts"},
		"one in another":               {mounts(Mount{"/a", "/x", false}, Mount{"/b", "/x/y", true}), ""},
		"as many as allowed":           {many(256), ""},
		"too many":                     {many(257), "257 mounts"},
		"a file":                       {file("/etc/hosts"), ""},
		"a file in /proc":              {file("/proc/sys/x"), "kernel's"},
		"a relative file":              {file("etc/hosts"), "below /"},
		"a file that climbs":           {file("/etc/../proc/x"), "below /"},
		"files as large as allowed":    {files(16<<20, 16<<20), ""},
		"files too large":              {files(16<<20, 16<<20, 1), "33554433 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Spec{ID: id, Hostname: "bottle"}
			c.change(&s)
			if err := s.Check(); (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %q", err, c.words)
			}
		})
	}
}
