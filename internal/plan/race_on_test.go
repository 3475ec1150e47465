//go:build race

package plan_test

// raceEnabled tells that the race detector slows everything down.
const raceEnabled = true
