package backendtest

// archCalls are what only this architecture has: nothing to try.
func archCalls(uintptr) []call { return nil }
