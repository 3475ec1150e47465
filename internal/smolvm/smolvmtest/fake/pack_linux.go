package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/artifact"
	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/setup"
	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/table"
)

// stub stands for the program that smolvm puts beside an artifact.
const stub = "#!/bin/sh\necho 'Error: not played by the stand-in: a packed program' >&2\nexit 1\n"

func packCreate(t *tool, p *table.Parsed) error {
	out := p.One("output")
	if strings.EqualFold(filepath.Ext(out), ".smolmachine") {
		return configError("pack create", "--output names the executable stub, not the .smolmachine sidecar (which is created automatically as '<output>.smolmachine'). Use --output %s instead.",
			strings.TrimSuffix(out, filepath.Ext(out)))
	}
	for dest, flag := range map[string]string{"from_vm": "--from-vm", "smolfile": "--smolfile", "single_file": "--single-file", "gpu": "--gpu"} {
		if p.Has(dest) {
			return notPlayed("pack create " + flag)
		}
	}
	platform := "linux/" + runtime.GOARCH
	if p.Has("oci_platform") {
		platform = p.One("oci_platform")
	}
	staging := p.One("staging_dir")
	if staging == "" {
		staging = filepath.Join(string(t.home), ".cache/smolvm")
	}
	if err := os.MkdirAll(staging, 0o755); err != nil {
		return agentError("create staging root", "%s", reason(err))
	}
	temp, err := os.MkdirTemp(staging, "smolvm-pack-")
	if err != nil {
		return agentError("create temp directory", "%s", reason(err))
	}
	defer os.RemoveAll(temp)

	// A machine pulls the image. It is ended with this function, but not by a signal that ends this
	// process: then it stays, and no list has it.
	fmt.Println("Starting agent VM...")
	name := fmt.Sprintf("pack-%d-%d", os.Getpid(), time.Now().UnixNano())
	dir := t.home.vm(name)
	if err := newFolder(dir, name); err != nil {
		return storageError("pack", reason(err))
	}
	defer os.RemoveAll(dir)
	if t.Faults.NoKVM {
		return errors.New("kvm not available: /dev/kvm: No such file or directory (os error 2)")
	}
	pid, err := t.launch(dir, bootConfig{Name: name, Sleep: true})
	if err != nil {
		return err
	}
	defer end(process{pid, startOf(pid)})
	for end := time.Now().Add(t.Faults.SlowPack); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if now, err := setup.Read(t.dir); err != nil || now.Faults.SlowPack == 0 {
			break
		}
	}
	if t.Faults.DiskFull {
		return storageError("pack", noSpace)
	}
	fmt.Printf("Pulling %s...\n", p.One("image"))
	ref, err := parseReference(p.One("image"))
	if err != nil {
		return err
	}
	im, err := ref.find(platform)
	if err != nil {
		return agentError("pull image", "failed to pull image '%s': %w", p.One("image"), err)
	}
	m, err := t.manifest(p, im, temp)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, []byte(stub), 0o755); err != nil {
		return agentError("pack binary", "I/O error: %s", reason(err))
	}
	if err := artifact.Write(out+".smolmachine", m, func(w io.Writer) error { return assets(w, m, temp) }); err != nil {
		return agentError("pack binary", "I/O error: %s", reason(err))
	}
	fmt.Printf("Packed: %s (stub: 0KB, total: %dKB)\nAssets: %s.smolmachine (%dKB compressed)\n", out, m.ImageSize/1024, out, m.ImageSize/1024)
	fmt.Printf("\nRun with: %s\nNote: Keep the .smolmachine file alongside the binary\nOptions: --help for usage\n", out)
	return nil
}

// manifest describes an image, whose layers it brings to dir.
func (t *tool) manifest(p *table.Parsed, im *image, dir string) (artifact.Manifest, error) {
	c := im.config
	m := artifact.Manifest{
		Mode: "container", Image: p.One("image"), Digest: im.digest, Platform: c.OS + "/" + c.Architecture,
		Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, Env: c.Config.Env, Workdir: c.Config.WorkingDir,
		CPUs: *number(p, "cpus"), Mem: *number(p, "mem"), Network: t.Faults.PackNetwork,
		HostPlatform: "linux/" + runtime.GOARCH, Created: time.Now().UTC().Format(time.RFC3339Nano), Version: t.Version,
		Assets: artifact.Inventory{Libraries: []artifact.Entry{}, AgentRootfs: artifact.Entry{Path: "agent-rootfs.tar"}},
	}
	if p.Has("entrypoint") {
		m.Entrypoint = []string{p.One("entrypoint")}
	}
	if t.Faults.PackArch != "" {
		m.Platform = t.Faults.PackArch
	}
	for i, layer := range im.layers {
		path := fmt.Sprintf("layers/%d.tar", i)
		n, err := im.save(layer, filepath.Join(dir, filepath.Base(path)))
		if err != nil {
			return m, agentError("pull image", "failed to pull image '%s': %w", p.One("image"), err)
		}
		fmt.Printf("  Layer %d/%d: %s... done\n", i+1, len(im.layers), layer.Digest[:min(19, len(layer.Digest))])
		m.ImageSize += n
		m.Assets.Layers = append(m.Assets.Layers, artifact.Entry{Digest: layer.Digest, Path: path, Size: n})
	}
	return m, nil
}

// assets writes the archive: the layers as they are, one file each. (The real program merges several
// into one.)
func assets(w io.Writer, m artifact.Manifest, dir string) error {
	archive := tar.NewWriter(w)
	for _, layer := range m.Assets.Layers {
		if err := archive.WriteHeader(&tar.Header{Name: layer.Path, Mode: 0o644, Size: layer.Size}); err != nil {
			return err
		}
		f, err := os.Open(filepath.Join(dir, filepath.Base(layer.Path)))
		if err != nil {
			return err
		}
		_, err = io.Copy(archive, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return archive.Close()
}

// packPrune removes contents of artifacts that no machine is made from, but the latest few.
func packPrune(t *tool, p *table.Parsed) error {
	db, err := t.home.read()
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, r := range db.Machines {
		used[r.SharedPack] = true
	}
	dirs, err := filepath.Glob(filepath.Join(t.home.shared(), "*"))
	if err != nil {
		return err
	}
	dirs = slices.DeleteFunc(dirs, func(d string) bool { return used[d] })
	slices.SortFunc(dirs, func(a, b string) int { return modified(b).Compare(modified(a)) })
	keep, err := strconv.Atoi(p.One("keep"))
	if err != nil {
		return err
	}
	if p.Has("all") {
		keep = 0
	}
	dirs = dirs[min(keep, len(dirs)):]
	for _, d := range dirs {
		if p.Has("dry_run") {
			fmt.Println("Would remove", d)
			continue
		}
		if err := os.RemoveAll(d); err != nil {
			return storageError("pack prune", reason(err))
		}
		fmt.Println("Removed", d)
	}
	return nil
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
