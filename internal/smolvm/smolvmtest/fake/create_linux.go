package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/artifact"
	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/table"
)

// Of create's options, a machine from an artifact ignores --workdir, --secret-env, --secret-file, --gpu,
// --gpu-vram and --rosetta without a word, and so they are not looked at here. A --cpus 4 and a --mem
// 8192 are the defaults even when they are written: the artifact's own then hold.
const (
	defaultCPUs = 4
	defaultMem  = 8192
)

func create(t *tool, p *table.Parsed) error {
	if stray := strays(p); len(stray) > 0 {
		were := "they were"
		if len(stray) == 1 {
			were = "it was"
		}
		fmt.Fprintf(os.Stderr, "note: %s came after `--`, so %s passed to the workload and did not configure the machine. Machine options go before `--`.\n",
			strings.Join(stray, ", "), were)
	}
	path := p.One("from")
	if path == "" {
		return createWithout(p)
	}
	if !exists(path) {
		return configError("create from .smolmachine", "file not found: %s", path)
	}
	m, assets, err := artifact.Read(path)
	if err != nil {
		return agentError("read .smolmachine", "%v", err)
	}
	_ = assets.Close()
	if err := sameArch(m.Platform); err != nil {
		return err
	}
	for key := range m.SecretRefs {
		return configError("create from .smolmachine", "secret '%s': source kind is not allowed in scope Untrusted (packs may not carry secret refs)", key)
	}
	r, err := fromOptions(p, m)
	if err != nil {
		return err
	}
	if r.Artifact, err = filepath.Abs(path); err == nil {
		r.Artifact, err = filepath.EvalSymlinks(r.Artifact)
	}
	if err != nil {
		return agentError("read .smolmachine", "%s", reason(err))
	}
	return t.make(r)
}

// strays are the machine's options that were written as words of its command.
func strays(p *table.Parsed) []string {
	var found []string
	for _, word := range p.All("command") {
		if slices.Contains(p.Longs(), word) && !slices.Contains(found, word) {
			found = append(found, word)
		}
	}
	return found
}

// createWithout refuses a machine that is not from an artifact, for smolvm's reason if it has one.
func createWithout(p *table.Parsed) error {
	if p.Has("smolfile") {
		return notPlayed("machine create --smolfile")
	}
	r, err := fromOptions(p, artifact.Manifest{CPUs: defaultCPUs, Mem: defaultMem})
	if err != nil {
		return err
	}
	image := p.One("image")
	if image != "" && !localImage(image) && !r.Network {
		return configError("create machine", "image '%s' must be pulled from a registry, but the machine has no network. Add --net, or use a local image archive", image)
	}
	if image != "" {
		return notPlayed("machine create --image")
	}
	return notPlayed("a machine that is not made from an artifact")
}

// localImage says whether smolvm takes an image for a file: by its beginning or its end.
func localImage(image string) bool {
	for _, prefix := range []string{"/", "./", "../"} {
		if strings.HasPrefix(image, prefix) {
			return true
		}
	}
	for _, suffix := range []string{".tar", ".tar.gz", ".tgz"} {
		if strings.HasSuffix(image, suffix) {
			return true
		}
	}
	return image == "-"
}

func sameArch(platform string) error {
	arch := strings.TrimSpace(platform[strings.LastIndexByte(platform, '/')+1:])
	if (arch == "amd64" || arch == "arm64") && arch != runtime.GOARCH {
		return agentError("platform mismatch", "this artifact is built for architecture '%s' (platform '%s'), but this host is '%s'. "+
			"A packed VM or image carries native binaries and cannot run on a different CPU architecture", arch, platform, runtime.GOARCH)
	}
	return nil
}

// fromOptions reads create's options over an artifact's defaults.
func fromOptions(p *table.Parsed, m artifact.Manifest) (*record, error) {
	r := &record{
		Name: p.One("name"), CPUs: m.CPUs, Mem: m.Mem, Image: m.Image, Workdir: m.Workdir, GPU: m.GPU,
		Env: append(slices.Clone(m.Env), p.All("env")...), Entrypoint: m.Entrypoint, Cmd: m.Cmd,
		CUDA: p.Has("cuda") || p.Has("auto_graph"), CreatedAt: time.Now().Unix(), Ports: len(p.All("port")),
	}
	if r.Name == "" && !p.Has("name") {
		b := make([]byte, 4)
		_, _ = rand.Read(b)
		r.Name = "vm-" + hex.EncodeToString(b)
	}
	if n := number(p, "cpus"); *n != defaultCPUs {
		r.CPUs = *n
	}
	if n := number(p, "mem"); *n != defaultMem {
		r.Mem = *n
	}
	if command := p.All("command"); len(command) > 0 {
		r.Entrypoint, r.Cmd = nil, command
	}
	r.Storage, r.Overlay = number(p, "storage"), number(p, "overlay")
	policy := p.Has("allow_cidr") || p.Has("allow_host") || p.Has("outbound_localhost_only")
	r.Network = m.Network || p.Has("net") || policy || p.Has("dns") || p.Has("network_name")
	var err error
	if r.Labels, err = labels(p.All("labels")); err != nil {
		return nil, err
	}
	if r.Sockets, err = sockets(p); err != nil {
		return nil, err
	}
	if err := resources(r); err != nil {
		return nil, err
	}
	if err := backend(p, r.Network, policy); err != nil {
		return nil, err
	}
	if why := badName(r.Name); why != "" {
		return nil, configError("create machine", "%s", why)
	}
	if r.Mounts, err = mounts(p.All("volume")); err != nil {
		return nil, err
	}
	if err := duplicatePorts(p.All("port")); err != nil {
		return nil, err
	}
	for dest, flag := range map[string]string{"expose_socket": "--expose-socket", "init": "--init", "docker_socket": "--docker-socket", "ssh_agent": "--ssh-agent"} {
		if p.Has(dest) {
			return nil, notPlayed("machine create " + flag)
		}
	}
	return r, nil
}

// number is an option's value, or nil; the parser has checked that it is one.
func number(p *table.Parsed, dest string) *int {
	n, err := strconv.Atoi(p.One(dest))
	if err != nil {
		return nil
	}
	return &n
}

func labels(specs []string) (map[string]string, error) {
	m := map[string]string{}
	for _, spec := range specs {
		key, value, ok := strings.Cut(spec, "=")
		switch {
		case !ok:
			return nil, configError("--label", "expected KEY=VALUE, got '%s'", spec)
		case key == "":
			return nil, configError("--label", "label key cannot be empty (in '%s')", spec)
		}
		m[key] = value
	}
	return m, nil
}

func sockets(p *table.Parsed) ([]socket, error) {
	var all []socket
	for _, spec := range p.All("mount_socket") {
		hostPath, guestPath, ok := strings.Cut(spec, ":")
		switch {
		case !ok:
			return nil, configError("mount-socket", "expected HOST_PATH:GUEST_PATH, got '%s'", spec)
		case hostPath == "" || guestPath == "":
			return nil, configError("mount-socket", "both HOST_PATH and GUEST_PATH are required in '%s'", spec)
		case strings.ContainsAny(guestPath, ";|"):
			return nil, configError("publish-socket", "guest path '%s' contains an unsupported character (';' or '|')", guestPath)
		case !strings.HasPrefix(guestPath, "/"):
			return nil, configError("publish-socket", "guest path '%s' must be absolute", guestPath)
		case slices.ContainsFunc(all, func(s socket) bool { return s.Guest == guestPath }):
			return nil, configError("mount-socket", "guest path '%s' is mounted more than once", guestPath)
		}
		all = append(all, socket{hostPath, guestPath})
	}
	if n := len(all) + len(p.All("expose_socket")); n > 64 {
		return nil, configError("publish-socket", "too many published sockets (%d); max is 64", n)
	}
	return all, nil
}

func resources(r *record) error {
	const op = "validate resources"
	switch {
	case r.CPUs == 0:
		return configError(op, "CPU count must be at least 1")
	case r.Mem < 64:
		return configError(op, "memory must be at least 64 MiB (got %d MiB)", r.Mem)
	case r.Storage != nil && *r.Storage == 0:
		return configError(op, "storage disk size must be greater than 0 GiB")
	case r.Overlay != nil && *r.Overlay == 0:
		return configError(op, "overlay disk size must be greater than 0 GiB")
	case r.CPUs > 16:
		fmt.Fprintf(os.Stderr, "warning: requested %d vCPUs but the hypervisor supports at most 16; the VM will run with 16 vCPUs\n", r.CPUs)
	}
	return nil
}

func backend(p *table.Parsed, network, policy bool) error {
	switch kind := p.One("net_backend"); {
	case kind == "tsi" && p.Has("port"):
		return configError("ports", "published ports require the virtio-net backend (TSI is outbound-only); remove --net-backend tsi or set it to virtio-net")
	case kind == "tsi" && p.Has("network_name"):
		return configError("network", "--network requires the virtio-net backend; remove --net-backend tsi or set it to virtio-net")
	case kind == "tsi" && policy:
		return configError("egress", "egress policy (--allow-cidr/--allow-host/--outbound-localhost-only) requires the virtio-net backend; TSI does not enforce it. Remove --net-backend tsi or set it to virtio-net")
	case kind == "virtio-net" && !network && !p.Has("port"):
		return configError("--net-backend", "--net-backend virtio-net requires --net")
	}
	return nil
}

func badName(name string) string {
	const label = "machine name"
	alnum := func(c rune) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
	switch {
	case name == "":
		return label + " cannot be empty"
	case len(name) > 128:
		return fmt.Sprintf("%s too long: %d characters (max 128)", label, len(name))
	case !alnum(rune(name[0])):
		return fmt.Sprintf("%s must start with a letter or digit (got: %q)", label, name)
	case strings.HasSuffix(name, "-"):
		return fmt.Sprintf("%s cannot end with a hyphen (got: %q)", label, name)
	case strings.Contains(name, "--"):
		return label + " cannot contain consecutive hyphens"
	case strings.ContainsAny(name, `/\`):
		return label + " cannot contain path separators"
	}
	for _, c := range name {
		if !alnum(c) && c != '-' && c != '_' {
			return fmt.Sprintf("%s contains invalid character: '%c'", label, c)
		}
	}
	return ""
}

// protected are folders of the host that are never shared, nor anything in them.
var protected = strings.Fields("/etc /usr /bin /sbin /lib /boot /proc /sys /dev /run /var/run /var/log")

func mounts(specs []string) ([]mount, error) {
	var all []mount
	for _, spec := range specs {
		rest, readOnly := strings.CutSuffix(spec, ":ro")
		if !readOnly {
			rest = strings.TrimSuffix(rest, ":rw")
		}
		i := strings.LastIndexByte(rest, ':')
		if i <= 0 || i == len(rest)-1 {
			return nil, fmt.Errorf("invalid mount path: invalid format '%s' (expected host:guest[:ro|:rw])", spec)
		}
		source, target := rest[:i], rest[i+1:]
		info, err := os.Stat(source)
		if err != nil {
			return nil, fmt.Errorf("mount source not found: %s", source)
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("mount operation failed: validate host path: source path on host must be a directory (virtiofs limitation): %s", source)
		}
		if source, err = filepath.Abs(source); err == nil {
			source, err = filepath.EvalSymlinks(source)
		}
		if err != nil {
			return nil, fmt.Errorf("mount operation failed: canonicalize host path: '%s': %s", source, reason(err))
		}
		inside := func(dir string) bool { return source == dir || strings.HasPrefix(source, dir+"/") }
		if source == "/" || source == "/var" || slices.ContainsFunc(protected, inside) {
			return nil, fmt.Errorf("mount operation failed: validate host path: source path on host is a protected system path and cannot be mounted: %s", source)
		}
		if !strings.HasPrefix(target, "/") {
			return nil, fmt.Errorf("mount operation failed: validate guest path: target path on guest should be an absolute directory: %s", target)
		}
		if slices.ContainsFunc(all, func(m mount) bool { return m.Guest == target }) {
			return nil, fmt.Errorf("mount operation failed: validate mounts: duplicate mount target: %s is specified more than once", target)
		}
		all = append(all, mount{source, target, readOnly})
	}
	return all, nil
}

func duplicatePorts(specs []string) error {
	seen := map[uint16]bool{}
	for _, spec := range specs {
		port, err := table.Port(spec)
		if err != nil {
			return err
		}
		if seen[port] {
			return configError("validate ports", "duplicate host port %d: each host port can only be mapped once", port)
		}
		seen[port] = true
	}
	return nil
}

// make reserves the name, extracts the artifact and writes the record, in this order: others see a
// machine that is being created or one that is.
func (t *tool) make(r *record) (err error) {
	taken := configError("create machine", "machine '%s' already exists or is being created", r.Name)
	err = t.home.change(func(db *database) error {
		if db.Machines[r.Name] != nil || db.Reserved[r.Name].alive() {
			return taken
		}
		db.Reserved[r.Name] = self()
		return nil
	})
	if err != nil {
		return err
	}
	dir := t.home.vm(r.Name)
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
			_ = t.home.change(func(db *database) error { delete(db.Reserved, r.Name); return nil })
		}
	}()
	if err := os.RemoveAll(dir); err != nil {
		return storageError("create machine", reason(err))
	}
	if err := newFolder(dir, r.Name); err != nil {
		return storageError("create machine", reason(err))
	}
	fmt.Println("Extracting .smolmachine assets...")
	if t.Faults.DiskFull {
		return storageError("create machine", noSpace)
	}
	if r.SharedPack, err = t.home.share(r.Artifact); err != nil {
		return agentError("extract sidecar (shared)", "%s", reason(err))
	}
	if err := extract(r.SharedPack); err != nil {
		return agentError("extract sidecar (shared)", "%s", err)
	}
	for _, part := range []string{rootfsDir, upperDir, workDir} {
		if err := os.Mkdir(filepath.Join(dir, part), 0o755); err != nil {
			return storageError("create machine", reason(err))
		}
	}
	err = t.home.change(func(db *database) error {
		delete(db.Reserved, r.Name)
		db.Machines[r.Name] = r
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("Created machine: %s\n  CPUs: %d, Memory: %d MiB\n", r.Name, r.CPUs, r.Mem)
	if len(r.Mounts) > 0 {
		fmt.Printf("  Mounts: %d\n", len(r.Mounts))
	}
	if r.Ports > 0 {
		fmt.Printf("  Ports: %d\n", r.Ports)
	}
	fmt.Printf("\nUse 'smolvm machine start --name %s' to start the machine\n", r.Name)
	fmt.Printf("Then use 'smolvm machine exec --name %s -- <command>' to run commands\n", r.Name)
	return nil
}

// newFolder makes the folder of a machine, with the name by which it can be found again.
func newFolder(dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "name"), []byte(name), 0o644)
}

// sharedFile is the artifact inside its folder of the shared store.
const sharedFile = "pack.smolmachine"

// share keeps an artifact's contents for all machines that are made from it: the artifact itself may go.
func (h home) share(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	// Its end holds a checksum of all of it.
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, max(0, st.Size()-4096), 4096)); err != nil {
		return "", err
	}
	dir := filepath.Join(h.shared(), hex.EncodeToString(sum.Sum(nil)))
	kept := filepath.Join(dir, sharedFile)
	if exists(kept) {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := os.Link(path, kept); err == nil || errors.Is(err, fs.ErrExist) {
		return dir, nil
	}
	// Another file system. Two that copy at once both rename the same bytes.
	tmp, err := os.CreateTemp(dir, ".copy-")
	if err != nil {
		return "", err
	}
	if _, err = f.Seek(0, io.SeekStart); err == nil {
		_, err = io.Copy(tmp, f)
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), kept)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return dir, err
}

// extract makes the file system of a shared artifact, once for all machines of it.
func extract(shared string) error {
	lock, err := os.Open(shared)
	if err != nil {
		return err
	}
	defer lock.Close() // which releases it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	done, fresh := filepath.Join(shared, rootfsDir), filepath.Join(shared, rootfsDir+".new")
	if exists(done) {
		return nil
	}
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := unpack(filepath.Join(shared, sharedFile), fresh); err != nil {
		return err
	}
	return os.Rename(fresh, done)
}
