package docker

import (
	"encoding/json"
	"sync"

	"github.com/moby/profiles/seccomp"
)

// profile is the system call filter of the container, under the agent's own: Docker's, as new as
// ours, since an old engine's may refuse what cork needs (Landlock, before Docker 23).
var profile = sync.OnceValue(func() string {
	b, err := json.Marshal(seccomp.DefaultProfile())
	if err != nil {
		return "" // the engine's own then
	}
	return string(b)
})
