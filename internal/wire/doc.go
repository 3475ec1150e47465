// Package wire is the one duplex byte stream between a bottle and its warden, and everything that
// is said on it. A Session multiplexes streams over it; Exec, Put, Get and Probe are the warden's
// requests to cork; WaysOver and ServeWays carry the bottle's connections out on backends that
// can't hand out sockets.
//
//	s := wire.NewSession(conn, wire.Warden)
//	p, err := wire.Exec(ctx, s, wire.Command{Argv: []string{"id"}, Dir: "/"})
//	out, err := io.ReadAll(p.Stdout)
//	exit, err := p.Wait()
//
// Neither side trusts the other. Every length is checked before anything is allocated for it,
// every stream has a credit window, so a slow reader holds back its own stream and no other, and
// the first violation of the protocol ends the session with an error that names it.
package wire
