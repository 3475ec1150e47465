package docker

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// setup is what cork is told, as its one argument. It holds no secret: whoever may ask the engine
// sees it.
type setup struct {
	// Socket is where the wire is to be had; empty means standard input and output.
	Socket string `json:"socket,omitempty"`
	// CorkUID and AgentUID are user and group of both, as the container sees them.
	CorkUID  int `json:"cork_uid"`
	AgentUID int `json:"agent_uid"`
	AgentGID int `json:"agent_gid"`
	// PIDs is the agent's limit of processes where it can be kept per user; 0 where the control
	// group alone keeps it, because the operator has other processes under the same id of the same kernel.
	PIDs uint64 `json:"pids,omitempty"`
	// Disk bounds a single file, in bytes; 0 is no limit.
	Disk uint64 `json:"disk,omitempty"`
	// Meter bounds what the writable folders take together, in bytes, where only cork can see them; 0
	// leaves that to the holder.
	Meter int64 `json:"meter,omitempty"`
	// Own are folders that cork is to give to the agent.
	Own []string `json:"own,omitempty"`
	// Writable are the folders that are the agent's.
	Writable []string `json:"writable,omitempty"`
}

// report is cork's first word: what went wrong, or what was reached.
type report struct {
	Failed   string   `json:"failed,omitempty"`
	Landlock int      `json:"landlock"`
	Narrow   bool     `json:"narrow,omitempty"` // names need loopback addresses; see netjail.Sockets
	Notes    []string `json:"notes,omitempty"`
}

// maxReport bounds a report on standard output, in bytes.
const maxReport = 64 << 10

// sendReport writes r where no descriptors can go along.
func sendReport(w io.Writer, r report) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

// receiveReport reads what sendReport wrote and not a byte more.
func receiveReport(from io.Reader) (r report, err error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return r, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxReport {
		return r, fmt.Errorf("cork's report claims %d bytes, at most %d are allowed: something else writes to the container's output", size, maxReport)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(from, body); err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("cork's report: %w", err)
	}
	return r, nil
}
