package client

import "testing"

func TestDetachKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		typed []string // one Read each
		pass  string
		leave bool
	}{
		"nothing":                   {[]string{"hello\r"}, "hello\r", false},
		"the keys":                  {[]string{"a\x1ddb"}, "a", true},
		"the keys, apart":           {[]string{"a", "\x1d", "d"}, "a", true},
		"another second key":        {[]string{"\x1d", "x"}, "\x1dx", false},
		"the first twice":           {[]string{"\x1d\x1d", "d"}, "\x1dd", false},
		"new keyboard":              {[]string{"\x1b[93;5u", "d"}, "", true},
		"new keyboard, all events":  {[]string{"\x1b[57442;5u", "\x1b[93;5:1u", "\x1b[93;5:3u\x1b[57442;1:3u", "\x1b[100u"}, "\x1b[57442;5u", true},
		"modified keys":             {[]string{"\x1b[27;5;93~", "d"}, "", true},
		"num lock":                  {[]string{"\x1b[93;133u", "\x1b[100;129u"}, "", true},
		"arrows pass":               {[]string{"\x1b[A\x1bOB\x1b"}, "\x1b[A\x1bOB\x1b", false},
		"Ctrl-D is not d":           {[]string{"\x1d\x04"}, "\x1d\x04", false},
		"capital D is not d":        {[]string{"\x1dD"}, "\x1dD", false},
		"mouse passes":              {[]string{"\x1b[<0;3;4M\x1b[<0;3;4m"}, "\x1b[<0;3;4M\x1b[<0;3;4m", false},
		"paste":                     {[]string{"\x1b[200~x\x1b[201~"}, "\x1b[200~x\x1b[201~", false},
		"unicode":                   {[]string{"漢\x1b字"}, "漢\x1b字", false},
		"first, new; twice":         {[]string{"\x1b[93;5u\x1b[93;5u"}, "\x1b[93;5u", false},
		"half of a sequence passes": {[]string{"\x1b[93", ";5u"}, "\x1b[93;5u", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, err := ParseKeys(DefaultKeys)
			if err != nil {
				t.Fatal(err)
			}
			pass, leave := "", false
			for _, p := range c.typed {
				b, l := k.Scan([]byte(p))
				pass += string(b)
				if leave = l; l {
					break
				}
			}
			if pass != c.pass || leave != c.leave {
				t.Errorf("passed %q, left %t", pass, leave)
			}
		})
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "d", "ctrl-]", "ctrl-] dd", "ctrl-1 d", "alt-] d", "ctrl-] D", "ctrl-] "} {
		if _, err := ParseKeys(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	k, err := ParseKeys("ctrl-a d")
	if err != nil || k.String() != "Ctrl-A d" {
		t.Errorf("got %v, %v", k.String(), err)
	}
	var none Keys
	if p, leave := none.Scan([]byte("\x00d")); string(p) != "\x00d" || leave {
		t.Error("zero keys see something")
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("\x1b[93;5u"), []byte("d"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		k, err := ParseKeys(DefaultKeys)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range [][]byte{a, b} {
			if pass, leave := k.Scan(p); len(pass) > len(a)+len(b) || leave {
				return
			}
		}
	})
}
