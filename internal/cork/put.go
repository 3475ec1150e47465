//go:build linux

package cork

import (
	"github.com/claude-bottle/claude-bottle/internal/archive"
	"github.com/claude-bottle/claude-bottle/internal/wire"
)

// put unpacks an archive as the agent.
func (s *server) put(st *wire.Stream) {
	var req wire.PutRequest
	s.copying(st, &req, func() error {
		_, err := archive.Unpack(st, req.Dir, archive.Options{})
		return err
	})
}
