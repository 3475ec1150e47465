package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// maxFile bounds every file that is read here, in bytes.
const maxFile = 1 << 20

// What the docker command calls the files of its TLS folders.
const (
	caFile   = "ca.pem"
	certFile = "cert.pem"
	keyFile  = "key.pem"
)

// configDir is docker's configuration folder; empty when there is no telling.
func (f *finder) configDir() string {
	if dir := f.env("DOCKER_CONFIG"); dir != "" {
		return absolute(dir)
	}
	if f.home == "" {
		return ""
	}
	return filepath.Join(f.home, ".docker")
}

// current returns the name of the context that `docker context use` chose, empty when none is, and
// the file that says so.
func (f *finder) current() (name, file string, err error) {
	dir := f.configDir()
	if dir == "" {
		return "", "", nil
	}
	file = filepath.Join(dir, "config.json")
	data, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", file, nil
	}
	if err == nil {
		name, err = parseConfig(data)
	}
	if err != nil {
		return "", "", &Error{
			Reason: BadSetting, text: fmt.Sprintf("docker's configuration: %s: %s", file, inert.Text(err.Error(), 0)),
			hint: "mend or remove that file, or name the engine: export DOCKER_HOST=unix://" + f.docker,
		}
	}
	return name, file, nil
}

func parseConfig(data []byte) (context string, err error) {
	var config struct {
		CurrentContext string `json:"currentContext"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", err
	}
	return config.CurrentContext, nil
}

// context resolves a context by name; from is who named it.
func (f *finder) context(name, from string) (Where, error) {
	shown := fmt.Sprintf("context %q", inert.Text(name, 128))
	bad := func(format string, a ...any) (Where, error) {
		return Where{}, &Error{
			Reason: BadSetting, text: fmt.Sprintf("%s, named by %s: %s", shown, from, fmt.Sprintf(format, a...)),
			hint: "see which there are with: docker context ls\nand choose one with: docker context use NAME",
		}
	}
	if !word(name, "_.+-") {
		return bad("that is no name of a context")
	}
	dir := f.configDir()
	if dir == "" {
		return bad("there is no home folder to find it in")
	}
	// Docker's own store: a folder's name is the digest of the context's.
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	file := filepath.Join(dir, "contexts", "meta", id, "meta.json")
	data, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return bad("there is none, %s does not exist", file)
	}
	if err != nil {
		return bad("%s", inert.Text(err.Error(), 0))
	}
	end, err := parseMeta(data, name)
	if err != nil {
		return bad("%s: %s", file, inert.Text(err.Error(), 0))
	}
	w := Where{From: shown}
	if files := tlsFiles(filepath.Join(dir, "contexts", "tls", id, "docker")); files != (TLSFiles{}) || end.SkipTLSVerify {
		files.SkipVerify = end.SkipTLSVerify
		w.TLS = &files
	}
	a, err := parseAddress(end.Host, w.TLS != nil)
	if err != nil {
		return bad("%s: %s", file, err)
	}
	if w.Host = a.String(); a.scheme != "tcp" {
		w.TLS = nil
	}
	return w, nil
}

// endpoint is what a context says about reaching the engine.
type endpoint struct {
	Host          string
	SkipTLSVerify bool
}

// parseMeta reads a context's meta.json, which must be name's.
func parseMeta(data []byte, name string) (endpoint, error) {
	var meta struct {
		Name      string
		Endpoints map[string]endpoint
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return endpoint{}, err
	}
	end, ok := meta.Endpoints["docker"]
	switch {
	case meta.Name != name:
		return endpoint{}, fmt.Errorf("it is about another context, %q", inert.Text(meta.Name, 128))
	case !ok:
		return endpoint{}, errors.New("it has no docker endpoint")
	}
	return end, nil
}

// tlsFiles names the TLS files that are in dir.
func tlsFiles(dir string) TLSFiles {
	there := func(name string) string {
		if p := filepath.Join(dir, name); exists(p) {
			return p
		}
		return ""
	}
	return TLSFiles{CA: there(caFile), Cert: there(certFile), Key: there(keyFile)}
}

// absolute makes dir independent of the current folder: a plan is carried out from another one.
func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir // there is no current folder, and nothing in it either
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// readFile reads a regular file of at most maxFile bytes. What else has a name can keep a reader
// waiting.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() // it is only read
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than 1 MiB", name)
	}
	return data, err
}
