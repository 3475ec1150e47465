// Package native runs bottles on Linux itself: cork is this program in new user, mount, pid, net,
// ipc, uts and cgroup namespaces. No daemon, no image, no privilege: an ordinary user will do, and
// root is mapped to an unprivileged id before anything of the agent runs.
//
// One start, from both sides of a unix socket pair:
//
//	holder (host)                            cork (process 1 of the bottle)
//	clone with all namespaces, exec      ->
//	map ids, join cgroups, open mounts
//	setup + mounts as descriptors        ->  build the file system, pivot
//	                                         loopback, routes, redirect, listeners
//	                                     <-  listeners as descriptors + report
//	the wire                            <->  the wire
//
// The bottle lives as long as both do: the end of either is seen by the other as the end of the
// socket.
package native

// Name is the word the operator types.
const Name = "native"
