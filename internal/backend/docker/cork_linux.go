package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/claude-bottle/claude-bottle/internal/backend/guest"
	"github.com/claude-bottle/claude-bottle/internal/cork/confine"
	"github.com/claude-bottle/claude-bottle/internal/cork/netjail"
)

// CorkMain is the first process of a container: what our program is when Start has the engine run
// it there, with a setup as JSON after our name, and of no use otherwise. It returns the exit code.
func CorkMain(args []string) int {
	if err := runCork(args); err != nil {
		fmt.Fprintln(os.Stderr, err) // the holder reads it
		return 1
	}
	return 0
}

func runCork(args []string) error {
	var s setup
	if len(args) != 2 || args[0] != Name || json.Unmarshal([]byte(args[1]), &s) != nil {
		return errors.New("cork: this command is started by claude-bottle itself")
	}
	line, err := guest.Dial(s.Socket)
	if err != nil {
		return err
	}
	sealed, err := seal(s)
	if err != nil {
		return line.Refuse(err)
	}
	return line.Serve(sealed)
}

// seal makes of the container a bottle. The order is forced: the network needs rights that cork
// gives up with root.
func seal(s setup) (_ guest.Sealed, err error) {
	who := guest.Who{Cork: s.CorkUID, UID: s.AgentUID, GID: s.AgentGID}
	if err := who.Check(); err != nil {
		return guest.Sealed{}, err
	}
	sockets, err := netjail.Seal()
	if err != nil {
		return guest.Sealed{}, err
	}
	defer func() {
		if err != nil {
			sockets.Close()
		}
	}()
	// A runtime gives a temporary folder the mode of what it covers.
	for _, dir := range temporaryFolders {
		if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
			return guest.Sealed{}, err
		}
	}
	for _, dir := range s.Own {
		if err := os.Chown(dir, s.AgentUID, s.AgentGID); err != nil {
			return guest.Sealed{}, err
		}
	}
	sealed, err := who.Become(confine.Ceilings{FileSize: s.Disk, PIDs: s.PIDs}, s.Writable)
	sealed.Meter = s.Meter
	return sealed.With(sockets), err
}
