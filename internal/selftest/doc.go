// Package selftest is the warden's half of the launch self-test: before the agent's first
// instruction, cork tries from inside everything the seal promises to stop, and the warden judges
// what it reports.
//
// The warden does not only believe. Prepare lays out baits on the host: listeners, unix sockets
// and a file that answer a secret nonce, each proven alive from the host first. A bait that was
// touched is a leak even when the report calls all well. Judge compares the report name by name
// with the list kept here, so that a shorter or an older prober can't pass:
//
//	bait, err := selftest.Prepare(ctx, selftest.Options{Dir: dir, ControlHost: host, Nonce: nonce})
//	...
//	defer bait.Close()
//	results, err := session.Probe(ctx, bait.Request())
//	...
//	summary, err := selftest.Judge(results, bait)
package selftest
