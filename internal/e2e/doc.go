// Package e2e attacks the whole program as a user runs it: the real binary starts real bottles, and
// a hostile agent (package evil) tries from inside what the table of attacks names. Every test is
// named by its attack and has a benign twin beside it, so that a bottle in which nothing works
// can't pass.
//
// Beside the attacks stand everyday life and its accidents: real agent programs work in bottles
// with a stand-in for their model, and raise no alarm by it, a person sits at a terminal (tmux) and
// talks to them, scripts use every verb, processes are killed at any moment, and there is no room,
// no right, no program.
//
// The tests bring a world along. They run in a network namespace of their own in which every
// address is local: a capture server hears every packet that leaves a bottle for anywhere, the only
// name server there records what it is asked, and good sites have public-looking addresses. In
// that world zero bytes captured means zero bytes sent. Allowed hosts that are exits keep all they
// are sent: a thief's sink, the npm registry with the modules of this machine's npm, and a GitHub
// that is git's own server. It has its own /tmp, too, which must be empty again at the end.
//
//	go test ./internal/e2e
//
// They pass as root and as an ordinary user. As root a core of them is run once more as a user
// made for it.
//
// The same tests run over container engines, by one variable; what can only be seen natively says so
// when it is left out.
//
//	sudo scripts/engines up
//	sudo env $(scripts/engines env) CLAUDE_BOTTLE_E2E_ENGINE=docker go test ./internal/e2e
//
//	docker    a Docker of the tests' own in the world, runc: folders are shared, the wire is a socket
//	podman    the same with Podman
//	gvisor    the Docker of scripts/engines, which sees nothing of the world, and gVisor: folders are
//	          copied, the wire is standard input and output
//	carried   the same with runc
//
// Over docker an engine is killed at work as well.
package e2e
