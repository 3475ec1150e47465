package engine

// Where says which engine is meant and how it is reached. It holds no secret, only the names of
// files that do, and goes into a plan.
type Where struct {
	// Host is the engine's address: "unix:///var/run/docker.sock", "tcp://host:2376",
	// "ssh://user@host".
	Host string `json:"host"`
	// From is what decided: "DOCKER_HOST", `context "work"`, "default".
	From string `json:"from"`
	// TLS is nil where the connection is not TLS.
	TLS *TLSFiles `json:"tls,omitempty"`
}

// TLSFiles are the files of a TLS connection, PEM, as absolute paths; empty where there is none.
type TLSFiles struct {
	// CA holds the only authorities the engine may be certified by; empty means the system's.
	CA string `json:"ca,omitempty"`
	// Cert and Key are who we are to the engine.
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// SkipVerify is true where the operator told docker not to check the engine's certificate.
	SkipVerify bool `json:"skip_verify,omitempty"`
}

// String is the address and what decided, as errors show it.
func (w Where) String() string {
	if w.From == "" {
		return w.Host
	}
	return w.Host + " (" + w.From + ")"
}
