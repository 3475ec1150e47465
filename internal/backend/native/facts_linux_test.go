package native

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestObstacles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		root    bool
		files   map[string]string
		without bool   // user namespaces
		why     string // a part of it; empty for none
	}{
		"a recent kernel":         {files: map[string]string{"sys/kernel/osrelease": "6.8.0-45-generic\n", "sys/user/max_user_namespaces": "63000\n"}},
		"an old kernel":           {files: map[string]string{"sys/kernel/osrelease": "5.10.0-28-amd64\n"}, why: "Linux 5.10"},
		"just new enough":         {files: map[string]string{"sys/kernel/osrelease": "5.12.0\n"}},
		"a release like no other": {files: map[string]string{"sys/kernel/osrelease": "cloud\n"}},
		"namespaces off":          {files: map[string]string{"sys/user/max_user_namespaces": "0\n"}, why: "switched off"},
		"Debian's switch":         {files: map[string]string{"sys/kernel/unprivileged_userns_clone": "0\n"}, why: "root only"},
		"Debian's switch, root":   {root: true, files: map[string]string{"sys/kernel/unprivileged_userns_clone": "0\n"}},
		"root of the host":        {root: true, files: map[string]string{"self/uid_map": "         0          0 4294967295\n"}},
		"root of a container":     {root: true, files: map[string]string{"self/uid_map": "0 1000 1\n1 100000 65536\n"}, why: "container"},
		"Ubuntu's AppArmor":       {files: map[string]string{"sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, why: "AppArmor"},
		"Ubuntu's AppArmor off":   {files: map[string]string{"sys/kernel/apparmor_restrict_unprivileged_userns": "0\n"}},
		"no user namespaces":      {without: true, why: "no user namespaces"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proc := t.TempDir()
			put := func(name, text string) {
				path := filepath.Join(proc, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			if !c.without {
				put("self/ns/user", "")
			}
			for name, text := range c.files {
				put(name, text)
			}
			f := factsFrom(proc, c.root)
			if f.Ready != (c.why == "") || !strings.Contains(f.Why, c.why) || f.Ready != (f.Fix == "") {
				t.Errorf("ready %v because %q; fix %q", f.Ready, f.Why, f.Fix)
			}
			for _, limit := range []string{"memory", "pids", "cpus", "disk", "tmp"} {
				if e := f.Limits[limit]; e.By == "" && e.Note == "" {
					t.Errorf("the %s limit is enforced by nothing, and nothing says why", limit)
				}
			}
		})
	}
}
