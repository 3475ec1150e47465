package table

import "strings"

// usage is the one line that refusals repeat. The parser's own line names only what was asked for;
// this one always names everything.
func (t *Table) usage(name string) string {
	line := strings.TrimSuffix("Usage: smolvm "+name, " ")
	c := t.commands[name]
	if c == nil || len(t.children(name)) > 0 {
		return line + " <COMMAND>"
	}
	var options bool
	var required, words string
	for i := range c.Args {
		a := &c.Args[i]
		switch {
		case a.Positional && a.Last:
			words += " [-- " + a.shown() + "]"
		case a.Positional && a.Required:
			words += " " + a.shown()
		case a.Positional:
			words += " [" + strings.Trim(strings.TrimSuffix(a.shown(), "..."), "<>") + "]"
			if a.Arity == "repeat" {
				words += "..."
			}
		case a.Required:
			required += " " + a.shown()
		default:
			options = true
		}
	}
	if options {
		line += " [OPTIONS]"
	}
	return line + required + words
}

// help names every command of a group, or every option of a command.
func (t *Table) help(name string) string {
	text := t.usage(name) + "\n\n"
	if children := t.children(name); len(children) > 0 {
		text += "Commands:\n"
		for _, child := range children {
			if c := t.commands[join(name, child)]; c == nil || !c.Hidden {
				text += "  " + child + "\n"
			}
		}
		text += "  help  Print this message or the help of the given subcommand(s)\n\n"
	} else if c := t.commands[name]; c != nil {
		var words, options string
		for i := range c.Args {
			a := &c.Args[i]
			switch {
			case a.Hidden:
			case a.Positional:
				words += "  " + a.shown() + "\n"
			case a.Short != "":
				options += "  " + a.Short + ", " + a.shown() + "\n"
			default:
				options += "      " + a.shown() + "\n"
			}
		}
		if words != "" {
			text += "Arguments:\n" + words + "\n"
		}
		text += "Options:\n" + options + "  -h, --help\n          Print help\n"
		return text
	}
	text += "Options:\n  -h, --help     Print help\n"
	if name == "" {
		text += "  -V, --version  Print version\n"
	}
	return text
}
