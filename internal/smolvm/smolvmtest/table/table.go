// Package table reads smolvm's command lines the way smolvm itself does: by the list of commands
// and arguments that smolvm-cli-1.9.2.json holds, with the rules of its parser (clap 4). What smolvm
// refuses is refused here, with its exit status and close to its words.
//
//	p, err := table.For("1.9.2").Parse([]string{"machine", "stop", "--name", "x"})
//
// No prefix of an option is taken for it, no option with one value may be repeated, and a value may
// not begin with a dash unless it is joined to its option by "=".
package table

import (
	_ "embed"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

//go:embed smolvm-cli-1.9.2.json
var source []byte

// Arg is one option, flag or positional word of a command.
type Arg struct {
	Dest           string   `json:"dest"`
	Type           string   `json:"type"`
	Long           string   `json:"long"`        // with its two dashes; "" for a positional word
	Short          string   `json:"short"`       // with its dash, or ""
	ShortAlias     string   `json:"short_alias"` // the same, not shown in the help
	Arity          string   `json:"arity"`       // flag, one or repeat
	TakesValue     bool     `json:"takes_value"`
	Positional     bool     `json:"positional"`
	Trailing       bool     `json:"trailing_var_arg"` // the first word of it ends the options
	Last           bool     `json:"last"`             // only after "--"
	Required       bool     `json:"required"`
	RequiredUnless []string `json:"required_unless_present_any"`
	Conflicts      []string `json:"conflicts_with"`
	Requires       []string `json:"requires"`
	Values         []string `json:"values"`
	Default        string   `json:"default"`
	Parser         string   `json:"value_parser"`
	ValueName      string   `json:"value_name"`
	Hidden         bool     `json:"hidden"`
}

// Command is a command, or a group of commands when others' names begin with its name.
type Command struct {
	Args    []Arg    `json:"args"`
	Aliases []string `json:"aliases"`
	Hidden  bool     `json:"hidden"`
	// Internal commands are for smolvm's own processes: their words are not described.
	Internal bool `json:"internal"`
	Group    *struct {
		Args     []string `json:"args"`
		Required bool     `json:"required"`
	} `json:"arg_group"`
}

// Table is the command line of one version.
type Table struct {
	version  string
	commands map[string]*Command // by full name, "machine create"
}

// For returns the table of a version: the one of 1.9.2, or for versions before 1.0.2, when names
// were positional, what remains of it without everything newer.
func For(version string) *Table {
	var file struct {
		Commands map[string]*Command `json:"commands"`
	}
	if err := json.Unmarshal(source, &file); err != nil {
		panic("smolvm-cli-1.9.2.json: " + err.Error()) // it is part of the program
	}
	for _, c := range file.Commands {
		for i := range c.Args {
			if c.Args[i].Type == "OutputFormat" {
				c.Args[i].Values = []string{"json", "yaml"}
			}
		}
	}
	t := &Table{version: version, commands: file.Commands}
	if before(version, 1, 0, 2) {
		t.age()
	}
	return t
}

// before compares a dotted version; parts that are no numbers count as 0.
func before(version string, than ...int) bool {
	parts := strings.Split(version, ".")
	for i, want := range than {
		have := 0
		if i < len(parts) {
			have, _ = strconv.Atoi(parts[i])
		}
		if have != want {
			return have < want
		}
	}
	return false
}

// children are the names that may follow a group's: "" has machine, pack and so on.
func (t *Table) children(group string) []string {
	found := map[string]bool{}
	for name := range t.commands {
		rest, ok := name, true
		if group != "" {
			rest, ok = strings.CutPrefix(name, group+" ")
		}
		if ok {
			word, _, _ := strings.Cut(rest, " ")
			found[word] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// child finds the command that word names in a group, by name or alias.
func (t *Table) child(group, word string) (name string, ok bool) {
	for _, c := range t.children(group) {
		full := join(group, c)
		if c == word || t.commands[full] != nil && slices.Contains(t.commands[full].Aliases, word) {
			return full, true
		}
	}
	return "", false
}

func join(group, word string) string { return strings.TrimPrefix(group+" "+word, " ") }

func (c *Command) find(match func(*Arg) bool) *Arg {
	for i := range c.Args {
		if match(&c.Args[i]) {
			return &c.Args[i]
		}
	}
	return nil
}

func (c *Command) long(name string) *Arg {
	return c.find(func(a *Arg) bool { return a.Long != "" && a.Long == name })
}

func (c *Command) short(letter string) *Arg {
	return c.find(func(a *Arg) bool { return a.Short == "-"+letter || a.ShortAlias == "-"+letter })
}

func (c *Command) dest(name string) *Arg {
	return c.find(func(a *Arg) bool { return a.Dest == name })
}

// shown is how messages name an argument: --name <NAME>, --json, <SRC>, <COMMAND>...
func (a *Arg) shown() string {
	value := a.ValueName
	if value == "" {
		value = strings.ToUpper(a.Dest)
	}
	switch {
	case a.Positional && a.Arity == "repeat":
		return "<" + value + ">..."
	case a.Positional:
		return "<" + value + ">"
	case a.TakesValue:
		return a.Long + " <" + value + ">"
	}
	return a.Long
}
