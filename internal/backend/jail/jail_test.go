//go:build linux

package jail

import "testing"

func TestUnder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path string
		want bool
	}{
		{"/usr", true}, {"/usr/bin", true}, {"/usrx", false}, {"/", false}, {"/home/agent/x", true}, {"/home", false},
	} {
		if got := under(c.path, []string{"/usr", "/home/agent"}); got != c.want {
			t.Errorf("%s: %v", c.path, got)
		}
	}
}

func TestAbsolute(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"/etc/os-release", "../usr/lib/os-release", "/usr/lib/os-release"},
		{"/etc/localtime", "/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/UTC"},
		{"/etc/x", "/usr/../root/secret", "/root/secret"},
		{"/etc/x", "../../../../root/secret", "/root/secret"},
	} {
		if got := absolute(c[0], c[1]); got != c[2] {
			t.Errorf("%s -> %s is %s", c[0], c[1], got)
		}
	}
}

// Files keep their place in the blob whichever way they go.
func TestSplit(t *testing.T) {
	t.Parallel()
	b := &builder{spec: Spec{Mounts: []Mount{{Target: "/home/agent"}}}}
	early, late := b.split([]File{{Path: "/etc/a", Size: 3}, {Path: "/home/agent/b", Size: 5}, {Path: "/etc/c", Size: 1}, {Path: "/tmp/d"}})
	if len(early) != 2 || len(late) != 2 || early[1].off != 8 || late[0].off != 3 {
		t.Errorf("early %+v, late %+v", early, late)
	}
}
