package plan

import (
	"io/fs"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// isFolder reports whether tree has a folder of that name, links followed: the operator's skills
// are theirs to link.
func isFolder(tree fs.FS, name string) bool {
	if tree == nil {
		return false
	}
	fi, err := fs.Stat(tree, name)
	return err == nil && fi.IsDir()
}

// maxSkills bounds how many names an error lists.
const maxSkills = 50

// folders lists the skills there are, for an error; a tree that can't be read has none.
func folders(tree fs.FS) []string {
	out := []string{}
	if tree == nil {
		return out
	}
	entries, err := fs.ReadDir(tree, ".")
	if err != nil {
		return out // the skill asked for is missing either way, and that is what gets told
	}
	for _, e := range entries {
		if _, err := bottle.ParseName(e.Name()); err == nil && len(out) < maxSkills && isFolder(tree, e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out
}
