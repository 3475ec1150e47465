package image

import (
	"strings"
	"testing"
)

func TestIgnore(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file      string
		out, sent string // paths, by spaces
	}{
		{"", "", "a a/b"},
		{"# a\n\n  \n", "", "a"},
		{"a", "a a/b a/b/c", "b b/a aa"},
		{"/a/", "a a/b", "b/a"},
		{"./a", "a", "b"},
		{"*.log", "x.log x.log/y", "a/x.log log"},
		{"**/*.log", "x.log a/x.log a/b/x.log", "a/x.log2"},
		{"a/**", "a/b a/b/c", "a b"},
		{"a/**/z", "a/z a/b/z a/b/c/z a/z/y", "z a/zz"},
		{"**", "a a/b", ""},
		{"*\n!README.md", "a b/README.md", "README.md"},
		{"vendor\n!vendor/b\nvendor/b/c", "vendor vendor/a vendor/b/c/d", "vendor/b vendor/b/x"},
		{"?x", "ax", "x aax /x"},
		{"[a-c]1", "a1 c1", "d1 -1"},
		{"[^a-c]1", "d1", "a1"},
		{`\*`, "*", "a"},
		{`a\[`, "a[", "a"},
		{"a.b", "a.b", "axb"},
		{"\ufeffa", "a", "b"},
		{"a \r\nb\r\n", "a b", "c"},
		{".", "", "a"},
		{"../a", "", "a"},
		{"! b\n", "", "b"},
		{"ünï*", "ünïx", "unix"},
	} {
		ig, err := parseIgnore(tc.file)
		if err != nil {
			t.Errorf("%q: %v", tc.file, err)
		}
		for _, name := range strings.Fields(tc.out) {
			if !ig.excludes(name) {
				t.Errorf("%q sends %s", tc.file, name)
			}
		}
		for _, name := range strings.Fields(tc.sent) {
			if ig.excludes(name) {
				t.Errorf("%q does not send %s", tc.file, name)
			}
		}
	}
}

func TestMalformedIgnore(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"ok\n!":                              `line 2: "!": a ! without a pattern`,
		"a[":                                 "a [ without its ]",
		"a[]":                                "empty set",
		"[z-a]":                              "runs backwards",
		"[a-":                                "does not end",
		`a\`:                                 `a \ with nothing after it`,
		"a\xff":                              "not UTF-8",
		strings.Repeat("a\n", patternsMax+1): "more than 10000 patterns",
		strings.Repeat("a", ignoreMax+1):     "more than 1048576 bytes",
	} {
		if _, err := parseIgnore(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %q", file, err, want)
		}
	}
}

func FuzzIgnore(f *testing.F) {
	f.Add("**/*.log\n!a/b\n[a-z]?\\*", "a/b/c.log")
	f.Add("a/**/[^x]\n!", "a")
	f.Fuzz(func(t *testing.T, file, name string) {
		ig, err := parseIgnore(file)
		if err != nil {
			return
		}
		// What lies below a folder that is passed over must be out as well.
		if name != "" && ig.excludes(name) && !ig.mayKeepBelow(name) && !strings.ContainsAny(name, "\n") {
			if below := name + "/x"; !ig.excludes(below) {
				t.Fatalf("%q: %q is passed over, and %q is to be sent", file, name, below)
			}
		}
	})
}
