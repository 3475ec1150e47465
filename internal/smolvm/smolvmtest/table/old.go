package table

import (
	"slices"
	"strings"
)

// newer are the arguments that 0.8.2 did not have, for every command.
var newer = strings.Fields(`--secret-env --secret-file --forkable --fork-pool-size --cuda-vram-limit-mib
	--max-image-size --unprivileged --dns --cuda --auto-graph --docker-socket --docker-config
	--expose-socket --mount-socket --cascade --oci-cache --label --network --rebase-from-image
	--mode --uid --gid`)

// age turns the table into that of 0.8.2: commands and options that came later are gone, and the
// commands whose name became an option in 1.0.2 take it as a word.
func (t *Table) age() {
	for _, name := range []string{"machine fork", "machine fork-release", "machine egress-events",
		"_cuda-daemon", "_cuda-clone-worker", "_cuda-mps-supervisor"} {
		delete(t.commands, name)
	}
	for name, c := range t.commands {
		c.Args = slices.DeleteFunc(c.Args, func(a Arg) bool {
			return slices.Contains(newer, a.Long) ||
				name == "machine exec" && a.Long == "--detach" ||
				name == "machine create" && a.Last
		})
		for i := range c.Args {
			a := &c.Args[i]
			gone := func(dest string) bool { return c.dest(dest) == nil }
			a.Conflicts = slices.DeleteFunc(a.Conflicts, gone)
			a.Requires = slices.DeleteFunc(a.Requires, gone)
		}
	}
	for _, name := range []string{"machine create", "machine delete", "machine update", "machine data-dir"} {
		a := t.commands[name].long("--name")
		a.Positional, a.Long, a.Short = true, "", ""
	}
}
