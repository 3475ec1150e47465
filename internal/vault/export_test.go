package vault

// OpenCheap is Open with a passphrase hardly worth the name, for tests to be quick.
func OpenCheap(dir string, o Options) *Vault { return &Vault{dir: dir, o: o, work: 10} }
