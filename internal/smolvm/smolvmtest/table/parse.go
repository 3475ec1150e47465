package table

import (
	"slices"
	"strings"
)

// Parsed is a command line that the table accepts.
type Parsed struct {
	Command string // full name without aliases: "machine delete"
	Given   map[string][]string
	command *Command
}

// Has says whether an argument was written, as opposed to having its default.
func (p *Parsed) Has(dest string) bool { _, ok := p.Given[dest]; return ok }

// All are the values of an argument as they were written, in their order.
func (p *Parsed) All(dest string) []string { return p.Given[dest] }

// One is the value of an argument, or its default, or "".
func (p *Parsed) One(dest string) string {
	if v := p.Given[dest]; len(v) > 0 {
		return v[0]
	}
	if a := p.command.dest(dest); a != nil {
		return a.Default
	}
	return ""
}

// Longs are the long options of the command.
func (p *Parsed) Longs() []string {
	var longs []string
	for _, a := range p.command.Args {
		if a.Long != "" {
			longs = append(longs, a.Long)
		}
	}
	return longs
}

// Exit is what the parser has to say instead of a command: help and the version on standard output
// with status 0, everything else on standard error with status 2.
type Exit struct {
	Code int
	Text string
}

func (e *Exit) Error() string { return strings.TrimSpace(e.Text) }

// Parse reads the words after the program's name. Its error is always an *Exit.
func (t *Table) Parse(argv []string) (*Parsed, error) {
	group := ""
	for {
		if c := t.commands[group]; group != "" && c != nil && len(t.children(group)) == 0 {
			r := reader{table: t, name: group, command: c, given: map[string][]string{}}
			return r.parse(argv)
		}
		if len(argv) == 0 {
			return nil, &Exit{2, t.help(group)}
		}
		word := argv[0]
		switch {
		case word == "-h" || word == "--help" || word == "help":
			return nil, &Exit{0, t.help(group)}
		case group == "" && (word == "-V" || word == "--version"):
			return nil, &Exit{0, "smolvm " + t.version + "\n"}
		case strings.HasPrefix(word, "-"):
			return nil, t.refuse(group, "unexpected argument '"+flagOf(word)+"' found", "")
		}
		name, ok := t.child(group, word)
		if !ok {
			return nil, t.refuse(group, "unrecognized subcommand '"+word+"'", "")
		}
		group, argv = name, argv[1:]
	}
}

// flagOf is the part of a word that names an option: --name of --name=x, -x of -xyz.
func flagOf(word string) string {
	if strings.HasPrefix(word, "--") {
		name, _, _ := strings.Cut(word, "=")
		return name
	}
	if len(word) > 2 {
		return word[:2]
	}
	return word
}

func (t *Table) refuse(command, problem, tip string) *Exit {
	text := "error: " + problem + "\n\n"
	if tip != "" {
		text += "  tip: " + tip + "\n\n"
	}
	return &Exit{2, text + t.usage(command) + "\n\nFor more information, try '--help'.\n"}
}

// reader reads the words of one command.
type reader struct {
	table   *Table
	name    string
	command *Command
	given   map[string][]string
	order   []string // dests as they came
	escaped bool     // "--" was seen: only positional words follow
}

func (r *reader) refuse(problem, tip string) error { return r.table.refuse(r.name, problem, tip) }

func (r *reader) parse(argv []string) (*Parsed, error) {
	if r.command.Internal {
		return &Parsed{r.name, map[string][]string{"": argv}, r.command}, nil
	}
	for len(argv) > 0 {
		word := argv[0]
		var err error
		switch {
		case r.escaped:
			argv, err = r.positional(argv)
		case word == "--":
			r.escaped, argv = true, argv[1:]
		case word == "--help" || word == "-h":
			return nil, &Exit{0, r.table.help(r.name)}
		case strings.HasPrefix(word, "--"):
			argv, err = r.long(argv)
		case len(word) > 1 && word[0] == '-':
			argv, err = r.shorts(argv)
		default:
			argv, err = r.positional(argv)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := r.relations(); err != nil {
		return nil, err
	}
	return &Parsed{r.name, r.given, r.command}, nil
}

func (r *reader) long(argv []string) ([]string, error) {
	name, value, joined := strings.Cut(argv[0], "=")
	a := r.command.long(name)
	switch {
	case a == nil:
		return nil, r.unexpected(name)
	case !a.TakesValue && joined:
		return nil, r.refuse("unexpected value '"+value+"' for '"+a.Long+"' found; no more were expected", "")
	case !a.TakesValue:
		return argv[1:], r.add(a, "")
	case joined:
		return argv[1:], r.add(a, value)
	}
	return r.next(a, argv[1:])
}

// shorts reads a word of short options: -it, -nNAME, -n=NAME, -n NAME.
func (r *reader) shorts(argv []string) ([]string, error) {
	for rest := argv[0][1:]; rest != ""; {
		letter := rest[:1]
		rest = rest[1:]
		a := r.command.short(letter)
		switch {
		case a == nil && letter == "h":
			return nil, &Exit{0, r.table.help(r.name)}
		case a == nil:
			return nil, r.unexpected("-" + letter)
		case a.TakesValue && rest != "":
			return argv[1:], r.add(a, strings.TrimPrefix(rest, "="))
		case a.TakesValue:
			return r.next(a, argv[1:])
		}
		if err := r.add(a, ""); err != nil {
			return nil, err
		}
	}
	return argv[1:], nil
}

// next takes the following word as a's value. A word that looks like an option is not a value: it is
// either an option, and then the value is missing, or an unknown one.
func (r *reader) next(a *Arg, argv []string) ([]string, error) {
	if len(argv) > 0 && (argv[0] == "-" || !strings.HasPrefix(argv[0], "-")) {
		return argv[1:], r.add(a, argv[0])
	}
	if len(argv) > 0 && argv[0] != "--" {
		name := flagOf(argv[0])
		known := name == "--help" || name == "-h" || r.command.long(name) != nil ||
			!strings.HasPrefix(name, "--") && r.command.short(name[1:]) != nil
		if !known {
			return nil, r.unexpected(name)
		}
	}
	return nil, r.refuse("a value is required for '"+a.shown()+"' but none was supplied", "")
}

func (r *reader) positional(argv []string) ([]string, error) {
	for i := range r.command.Args {
		a := &r.command.Args[i]
		switch {
		case !a.Positional, a.Arity == "one" && len(r.given[a.Dest]) > 0, a.Last && !r.escaped:
			continue
		case a.Trailing || a.Last:
			for _, word := range argv {
				if err := r.add(a, word); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}
		return argv[1:], r.add(a, argv[0])
	}
	return nil, r.refuse("unexpected argument '"+argv[0]+"' found", "")
}

func (r *reader) unexpected(name string) error {
	tip := ""
	for _, a := range r.command.Args {
		if strings.HasPrefix(name, "--") && len(name) > 4 && strings.HasPrefix(a.Long, name) {
			tip = "a similar argument exists: '" + a.Long + "'"
		}
	}
	if tip == "" && r.command.find(func(a *Arg) bool { return a.Positional }) != nil {
		tip = "to pass '" + name + "' as a value, use '-- " + name + "'"
	}
	return r.refuse("unexpected argument '"+name+"' found", tip)
}

func (r *reader) add(a *Arg, value string) error {
	if a.Arity != "repeat" && r.given[a.Dest] != nil {
		return r.refuse("the argument '"+a.shown()+"' cannot be used multiple times", "")
	}
	if a.TakesValue {
		if why := check(a, value); why != "" {
			return r.refuse("invalid value '"+value+"' for '"+a.shown()+"'"+why, "")
		}
	}
	if r.given[a.Dest] == nil {
		r.order = append(r.order, a.Dest)
	}
	r.given[a.Dest] = append(r.given[a.Dest], value)
	return nil
}

// relations checks what arguments ask of each other, in the parser's order: conflicts, then what is
// missing.
func (r *reader) relations() error {
	for _, dest := range r.order {
		a := r.command.dest(dest)
		for _, other := range r.order {
			b := r.command.dest(other)
			if dest != other && (slices.Contains(a.Conflicts, other) || slices.Contains(b.Conflicts, dest)) {
				return r.refuse("the argument '"+a.shown()+"' cannot be used with '"+b.shown()+"'", "")
			}
		}
	}
	has := func(dest string) bool { return r.given[dest] != nil }
	var missing []string
	for i := range r.command.Args {
		a := &r.command.Args[i]
		if has(a.Dest) {
			for _, other := range a.Requires {
				if !has(other) {
					missing = append(missing, r.command.dest(other).shown())
				}
			}
			continue
		}
		if a.Required || len(a.RequiredUnless) > 0 && !slices.ContainsFunc(a.RequiredUnless, has) {
			missing = append(missing, a.shown())
		}
	}
	if g := r.command.Group; g != nil && g.Required && !slices.ContainsFunc(g.Args, has) {
		var any []string
		for _, dest := range g.Args {
			any = append(any, r.command.dest(dest).shown())
		}
		missing = append(missing, "<"+strings.Join(any, "|")+">")
	}
	if len(missing) > 0 {
		return r.refuse("the following required arguments were not provided:\n  "+strings.Join(missing, "\n  "), "")
	}
	return nil
}
