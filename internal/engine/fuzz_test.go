package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever is in docker's files and variables, the result is an address that reads back as itself,
// or an error that can be shown.
func FuzzFind(f *testing.F) {
	f.Add("", "", `{"currentContext": "work"}`, `{"Name": "work", "Endpoints": {"docker": {"Host": "tcp://h:2376", "SkipTLSVerify": true}}}`)
	f.Add("", "work", ``, `{"Name": "work", "Endpoints": {"docker": {"Host": "ssh://-oProxyCommand=id@h/run/x.sock"}}}`)
	f.Add("ssh://me@h:22/run/docker.sock", "", ``, ``)
	f.Add("tcp://[::1]/x", "", ``, ``)
	f.Add("::", "", ``, ``)
	dir := f.TempDir()
	sum := sha256.Sum256([]byte("work"))
	folder := filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host, context, config, meta string) {
		write(t, filepath.Join(dir, "config.json"), config)
		write(t, filepath.Join(folder, "meta.json"), meta)
		w, err := Find(variables(map[string]string{"DOCKER_HOST": host, "DOCKER_CONTEXT": context, "DOCKER_CONFIG": dir}), "")
		if err != nil {
			e, ok := err.(*Error) //nolint:errorlint // it is one, not something around one
			if !ok || e.Hint() == "" || strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("%#v", err)
			}
			return
		}
		a, err := parseAddress(w.Host, w.TLS != nil)
		if err != nil || a.String() != w.Host {
			t.Fatalf("%q reads back as %q, %v", w.Host, a, err)
		}
		if a.scheme != "ssh" {
			return
		}
		args := a.arguments()
		end := slices.Index(args, "--")
		if strings.HasPrefix(args[end+1], "-") || !utf8.ValidString(a.String()) || strings.ContainsAny(strings.Join(args, ""), " \t\n'\"\\$`;|&<>()*?!#~%") {
			t.Fatalf("%q", args)
		}
	})
}
