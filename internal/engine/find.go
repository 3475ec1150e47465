package engine

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Find resolves the engine that the docker command would use: DOCKER_HOST, else DOCKER_CONTEXT,
// else the current context of $DOCKER_CONFIG/config.json (~/.docker by default), else the socket
// at /var/run/docker.sock. Where docker would find nothing there, a rootless docker's socket in
// $XDG_RUNTIME_DIR counts, then Podman's, root's and the user's own, when this user may write to
// them. DOCKER_TLS_VERIFY, DOCKER_TLS and DOCKER_CERT_PATH count where no context does.
//
// It reads files and variables only. home is the operator's home folder. An error is an *Error.
func Find(env func(string) (string, bool), home string) (Where, error) {
	value := func(name string) string { v, _ := env(name); return v }
	return (&finder{env: value, home: home, docker: defaultSocket, podman: "/run/podman/podman.sock"}).find()
}

// finder is one search. docker and podman are the system's sockets.
type finder struct {
	env            func(string) string
	home           string
	docker, podman string
}

func (f *finder) find() (Where, error) {
	if host := f.env("DOCKER_HOST"); host != "" {
		return f.plain(host, "DOCKER_HOST")
	}
	name, from := f.env("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
	if name == "" {
		var err error
		if name, from, err = f.current(); err != nil {
			return Where{}, err
		}
	}
	if name == "" || name == "default" {
		return f.plain("unix://"+f.socket(), "default")
	}
	return f.context(name, from)
}

// plain is an engine outside any context: its TLS is what the variables say.
func (f *finder) plain(host, from string) (Where, error) {
	w := Where{From: from, TLS: f.envTLS()}
	a, err := parseAddress(host, w.TLS != nil)
	if err != nil {
		return Where{}, &Error{
			Reason: BadSetting, text: from + ": " + err.Error(),
			hint: "export DOCKER_HOST=unix:///path/of/docker.sock, tcp://host:2376 or ssh://user@host, or unset it",
		}
	}
	if w.Host = a.String(); a.scheme != "tcp" {
		w.TLS = nil // a socket and ssh need none, whatever the variables say for others
	}
	return w, nil
}

// envTLS follows the docker command: any value switches on, and the folder has fixed file names.
func (f *finder) envTLS() *TLSFiles {
	verify := f.env("DOCKER_TLS_VERIFY") != ""
	if !verify && f.env("DOCKER_TLS") == "" {
		return nil
	}
	dir := f.env("DOCKER_CERT_PATH")
	if dir == "" {
		dir = f.configDir()
	}
	dir = absolute(dir)
	files := tlsFiles(dir)
	files.SkipVerify = !verify
	if verify {
		files.CA = filepath.Join(dir, caFile) // required: without it any public authority would do
	}
	return &files
}

// socket is the engine's socket when nothing names one.
func (f *finder) socket() string {
	if exists(f.docker) {
		return f.docker
	}
	others := []string{f.podman}
	if run := f.env("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
		others = []string{filepath.Join(run, "docker.sock"), f.podman, filepath.Join(run, "podman", "podman.sock")}
	}
	for _, s := range others {
		if len(s) <= maxSocket && unix.Access(s, unix.W_OK) == nil {
			return s
		}
	}
	return f.docker
}
