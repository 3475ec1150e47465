package shape

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"os"
	"strings"
	"testing"
)

//go:generate go test -run TestGenerated -update .

var update = flag.Bool("update", false, "write rules_gen.go anew from the TOML files")

// TestGenerated holds rules_gen.go to the TOML files that it is made of.
func TestGenerated(t *testing.T) {
	t.Parallel()
	want := generate(t)
	if *update {
		if err := os.WriteFile("rules_gen.go", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile("rules_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("rules_gen.go differs from what rules/*.toml say: run go generate")
	}
}

func read(t *testing.T, name string) (*file, []spec) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, specs, err := parse(text, name)
	if err != nil {
		t.Fatal(err)
	}
	return f, specs
}

// readGitleaks reads gitleaks' file without the rules about file names, which parse refuses or
// which would lose their condition.
func readGitleaks(t *testing.T) (*file, []spec) {
	t.Helper()
	text, err := os.ReadFile("rules/gitleaks.toml")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "\n[[rules]]\n")
	kept := parts[:1]
	for _, p := range parts[1:] {
		if !strings.Contains(p, "\npath = ") {
			kept = append(kept, p)
		}
	}
	f, specs, err := parse([]byte(strings.Join(kept, "\n[[rules]]\n")), "rules/gitleaks.toml")
	if err != nil {
		t.Fatal(err)
	}
	return f, specs
}

func generate(t *testing.T) []byte {
	t.Helper()
	f, gitleaks := readGitleaks(t)
	ownFile, own := read(t, "rules/own.toml")
	if err := ownFile.aim(gitleaks, "rules/own.toml"); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("// Code generated from rules/*.toml by go generate. DO NOT EDIT.\n//\n")
	b.WriteString("// The rules of gitleaksSpecs are gitleaks' (https://github.com/gitleaks/gitleaks),\n")
	b.WriteString("// under this notice:\n//\n")
	notice, err := os.ReadFile("rules/gitleaks.LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(notice)) {
		b.WriteString(strings.TrimRight("// "+strings.TrimSpace(line), " ") + "\n")
	}
	b.WriteString("\npackage shape\n\n")
	fmt.Fprintf(&b, "var gitleaksGeneral = [...]string{\n")
	for _, re := range f.Allowlist.Regexes {
		if re == "(?i)^true|false|null$" {
			re = "(?i)^(?:true|false|null)$"
		}
		fmt.Fprintf(&b, "%s,\n", quoted(re))
	}
	fmt.Fprintf(&b, "}\n\nvar gitleaksGeneralWords = [...]string{\n")
	for _, w := range f.Allowlist.StopWords {
		fmt.Fprintf(&b, "%q,\n", lower(w))
	}
	b.WriteString("}\n\n")
	for i := range own {
		own[i].ours = true
	}
	write(&b, "gitleaksSpecs", gitleaks)
	write(&b, "ownSpecs", own)
	src, err := format.Source([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func write(b *strings.Builder, name string, specs []spec) {
	fmt.Fprintf(b, "var %s = [...]spec{\n", name)
	for _, s := range specs {
		fmt.Fprintf(b, "{id: %q, description: %q,\nregex: %s,\n", s.id, s.description, quoted(s.regex))
		field := func(name string, v any, zero bool) {
			if !zero {
				fmt.Fprintf(b, "%s: %#v, ", name, v)
			}
		}
		field("group", s.group, s.group == 0)
		field("entropy", s.entropy, s.entropy == 0)
		field("entire", s.entire, !s.entire)
		field("ours", s.ours, !s.ours)
		if s.find != fromPrefix {
			fmt.Fprintf(b, "find: %s, ", [...]string{"fromPrefix", "aroundWord", "aroundRun", "everywhere"}[s.find])
		}
		field("literals", s.literals, s.literals == nil)
		field("lead", s.lead, s.lead == 0)
		field("reach", s.reach, false)
		if s.find == aroundRun {
			fmt.Fprintf(b, "run: runOf{set: [2]uint64{%#x, %#x}, n: %d}, ", s.run.set[0], s.run.set[1], s.run.n)
		}
		field("gate", s.gate, s.gate == nil)
		if len(s.allow) > 0 {
			b.WriteString("allow: []allowance{")
			for _, a := range s.allow {
				b.WriteString("{")
				field("all", a.all, !a.all)
				field("never", a.never, !a.never)
				if a.target != theSecret {
					fmt.Fprintf(b, "target: %s, ", [...]string{"theSecret", "theMatch", "theLine"}[a.target])
				}
				if len(a.regexes) > 0 {
					b.WriteString("regexes: []string{")
					for _, re := range a.regexes {
						b.WriteString(quoted(re) + ", ")
					}
					b.WriteString("}, ")
				}
				field("stopwords", a.stopwords, a.stopwords == "")
				b.WriteString("},\n")
			}
			b.WriteString("},\n")
		}
		b.WriteString("},\n")
	}
	b.WriteString("}\n\n")
}

func quoted(s string) string {
	if strings.Contains(s, "`") {
		return fmt.Sprintf("%q", s)
	}
	return "`" + s + "`"
}
