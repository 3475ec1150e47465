package docker

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
