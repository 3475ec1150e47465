package image

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// dockerfileMax bounds a Dockerfile, in bytes.
const dockerfileMax = 1 << 20

// dockerfile is what must be known of a Dockerfile before the engine builds it: it is no parser of
// the language, and what it can't make out it leaves to the engine to say.
type dockerfile struct {
	text string
	// images are those it names, FROM and elsewhere, each once. Names that only a build could
	// work out are not among them.
	images []string
	// frontend is the image of its "# syntax=" line, which only BuildKit looks at.
	frontend string
	// froms are the offsets in text behind each FROM instruction.
	froms []int
}

// instruction is one instruction, continuation lines joined.
type instruction struct {
	word string // upper case: "FROM"
	args []string
	end  int // offset in the text behind its last line
}

var (
	directive = lazily(`^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S+)\s*$`)
	heredoc   = lazily(`^\d*<<-?["']?([A-Za-z_][A-Za-z0-9_]*)["']?$`)
	variable  = lazily(`\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::([-+])([^}$]*))?\})`)
)

// readDockerfile looks through text for an engine with the processor arch.
func readDockerfile(text, arch string) dockerfile {
	d := dockerfile{text: text}
	var list []instruction
	list, d.frontend = instructions(text)
	vars := map[string]string{}
	for _, side := range []string{"TARGET", "BUILD"} {
		vars[side+"ARCH"], vars[side+"OS"], vars[side+"PLATFORM"] = arch, "linux", "linux/"+arch
	}
	var stages []string
	add := func(name string) {
		lower := strings.ToLower(name)
		if name == "" || lower == "scratch" || slices.Contains(stages, lower) || slices.Contains(d.images, name) {
			return
		}
		d.images = append(d.images, name)
	}
	for _, in := range list {
		switch in.word {
		case "ARG":
			if len(d.froms) > 0 {
				continue // not one that a FROM could use
			}
			for _, a := range in.args {
				name, value, _ := strings.Cut(a, "=")
				value, _ = expand(strings.Trim(value, `"'`), vars)
				vars[name] = value
			}
		case "FROM":
			d.froms = append(d.froms, in.end)
			args := slices.DeleteFunc(slices.Clone(in.args), func(a string) bool { return strings.HasPrefix(a, "--") })
			if len(args) == 0 {
				continue
			}
			if name, ok := expand(args[0], vars); ok {
				add(name)
			}
			if len(args) == 3 && strings.EqualFold(args[1], "AS") {
				stages = append(stages, strings.ToLower(args[2]))
			}
		case "COPY", "ADD", "RUN":
			for _, a := range in.args {
				name, ok := source(a)
				if !ok || strings.Contains(name, "$") {
					continue
				}
				if n, err := strconv.Atoi(name); err == nil && n < len(d.froms) {
					continue // the number of a stage
				}
				add(name)
			}
		}
	}
	return d
}

// source returns what a flag of COPY or RUN takes files from: "--from=x", "--mount=from=x,…".
func source(flag string) (name string, ok bool) {
	if name, ok := strings.CutPrefix(flag, "--from="); ok {
		return name, true
	}
	mount, ok := strings.CutPrefix(flag, "--mount=")
	if !ok {
		return "", false
	}
	for field := range strings.SplitSeq(mount, ",") {
		if name, ok := strings.CutPrefix(field, "from="); ok {
			return name, true
		}
	}
	return "", false
}

// expand puts variables in; false when one has no value, and for what is not "$x", "${x}",
// "${x:-default}" or "${x:+other}".
func expand(s string, vars map[string]string) (string, bool) {
	known := true
	s = variable().ReplaceAllStringFunc(s, func(ref string) string {
		m := variable().FindStringSubmatch(ref)
		value := vars[m[1]+m[2]]
		switch {
		case m[3] == "-" && value == "":
			value = m[4]
		case m[3] == "+" && value != "":
			value = m[4]
		case m[3] == "" && value == "":
			known = false
		}
		return value
	})
	return s, known && !strings.Contains(s, "$")
}

// instructions cuts text into instructions and finds the "# syntax=" line at its top.
func instructions(text string) (list []instruction, frontend string) {
	escape, top := `\`, true
	var joined strings.Builder
	var until string // the word that ends a here-document
	offset := 0
	for line := range strings.Lines(text) {
		offset += len(line)
		body := strings.TrimSpace(line)
		if until != "" {
			if body == until {
				until = ""
				list[len(list)-1].end = offset
			}
			continue
		}
		if top {
			if m := directive().FindStringSubmatch(body); m != nil {
				switch strings.ToLower(m[1]) {
				case "escape":
					escape = m[2]
				case "syntax":
					frontend = m[2]
				}
				continue
			}
			top = false
		}
		if body == "" || strings.HasPrefix(body, "#") {
			continue // also between continuation lines
		}
		more := strings.HasSuffix(body, escape)
		joined.WriteString(strings.TrimSuffix(body, escape) + " ")
		if more {
			continue
		}
		words := strings.Fields(joined.String())
		joined.Reset()
		if len(words) == 0 {
			continue
		}
		in := instruction{word: strings.ToUpper(words[0]), args: words[1:], end: offset}
		list = append(list, in)
		if in.word == "RUN" || in.word == "COPY" || in.word == "ADD" {
			for _, a := range in.args {
				if m := heredoc().FindStringSubmatch(a); m != nil {
					until = m[1]
				}
			}
		}
	}
	return list, frontend
}

// labelled returns the text with an instruction put behind every FROM, so that what a classic
// builder keeps of a build that does not end carries a label.
func (d dockerfile) labelled(instruction string) string {
	var b strings.Builder
	last := 0
	for _, at := range d.froms {
		b.WriteString(d.text[last:at])
		if !strings.HasSuffix(d.text[:at], "\n") {
			b.WriteByte('\n')
		}
		b.WriteString(instruction + "\n")
		last = at
	}
	b.WriteString(d.text[last:])
	return b.String()
}

// lazily compiles a pattern when it is first used: every process of ours links this package, and few
// build images.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
