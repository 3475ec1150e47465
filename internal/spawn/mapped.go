package spawn

import (
	"os"
	"sync"
)

// mapping is held while a child of StartMapped waits for its user namespace to be filled in.
var mapping sync.Mutex

// StartMapped is os.StartProcess for a child with a user namespace of its own. Such a child waits,
// on a pipe, for its parent to write its mappings. Two of them at once would hold the writing ends
// of each other's pipes: were the parent killed just then, both would wait for ever, with copies of
// all its files and locks. So there is one at a time.
func StartMapped(name string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	mapping.Lock()
	defer mapping.Unlock()
	return os.StartProcess(name, argv, attr)
}
