// Package engine finds and reaches a container engine: Docker or Podman, through the Docker Engine
// API, on this host or another one.
//
// Finding it is reading files and variables, for prepare; reaching it is Connect's, and whatever
// stands in the way is told in words with what to type next.
//
//	w, err := engine.Find(os.LookupEnv, home)
//	why, fix := w.Obstacle()           // file reads alone
//	e, err := engine.Connect(ctx, w)   // dials; at most 10 seconds
//	defer e.Close()
//	runtime, err := e.Info().PickRuntime(bottle.Runtime)
package engine
