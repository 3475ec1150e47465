// Package cork is the first process of a bottle and its only opening. It answers the warden's
// requests on the wire (run a program, copy files in and out, probe the seal), reaps every orphan,
// and kills everything when the wire ends.
//
//	session := wire.NewSession(conn, wire.Cork)
//	err := cork.Serve(ctx, session, cork.Config{Confine: confine, Probes: probe.Parts()})
//
// Whatever it does at the agent's places it does with the agent's rights: programs are started
// from, and files are touched on, threads that Config.Confine has confined for good, so the
// kernel decides what may be done there, not this package. cork's own threads are never confined,
// and no thread that was is ever given back.
//
// The agent is hostile to its cork. cork can't be traced, no signal from inside ends it, nothing
// it holds open reaches a program.
//
// Everything but this sentence is for Linux.
package cork
