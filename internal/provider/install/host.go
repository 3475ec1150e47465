package install

import (
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/claude-bottle/claude-bottle/internal/provider"
)

// onHost looks for the operator's own copy on path. A copy that a bottle can't run as it is (a
// script without its native executable, another system's binary) counts as none.
func onHost(src provider.Source, want provider.Native, path string) (Program, bool) {
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // "" and "." would run what happens to lie in the current folder
		}
		found, err := filepath.EvalSymlinks(filepath.Join(dir, src.Command))
		if err != nil {
			continue // not here
		}
		if p, ok := fromFile(src, want, found); ok {
			return p, true
		}
	}
	return Program{}, false
}

// fromFile judges one file found under the program's name, symbolic links resolved.
func fromFile(src provider.Source, want provider.Native, file string) (Program, bool) {
	root, version := packageOf(src, file)
	if !native(file) {
		if root == "" {
			return Program{}, false
		}
		// A launcher script: npm puts the executable's package beside the launcher's, or below it.
		for _, modules := range []string{filepath.Join(root, "node_modules"), filepath.Join(root, "..", "..")} {
			inner := filepath.Join(modules, filepath.FromSlash(want.Package))
			exe := filepath.Join(inner, filepath.FromSlash(want.Program))
			if !native(exe) {
				continue
			}
			if p, err := show(src.Command, inner, exe, version); err == nil {
				return p, true
			}
		}
		return Program{}, false
	}
	if root == "" {
		// A stand-alone install is one file, "…/versions/2.1.197" for Claude Code.
		if filepath.Base(filepath.Dir(file)) == "versions" {
			version = filepath.Base(file)
		}
		root = file
	}
	p, err := show(src.Command, root, file, version)
	return p, err == nil
}

// packageOf returns the folder and version of the npm package of src that file belongs to; empty
// when it belongs to none.
func packageOf(src provider.Source, file string) (root, version string) {
	dir := filepath.Dir(file)
	for range 6 { // no executable of these packages lies deeper
		var pkg struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		}
		if f, err := os.Open(filepath.Join(dir, "package.json")); err == nil {
			err = json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&pkg)
			_ = f.Close() // it was only read
			ours := pkg.Name == src.Package
			for _, n := range src.Native {
				ours = ours || pkg.Name == n.Package
			}
			if err == nil && ours {
				return dir, pkg.Version
			}
			return "", ""
		}
		if up := filepath.Dir(dir); up != dir {
			dir = up
		}
	}
	return "", ""
}

// native reports whether file is a Linux executable for this host's processor.
func native(file string) bool {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return false
	}
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	// Only the header: parsing the sections of a 250 MB executable takes milliseconds.
	var h [20]byte
	if _, err := io.ReadFull(f, h[:]); err != nil || string(h[:4]) != elf.ELFMAG || h[elf.EI_DATA] != byte(elf.ELFDATA2LSB) {
		return false
	}
	machine := elf.Machine(uint16(h[18]) | uint16(h[19])<<8)
	switch runtime.GOARCH {
	case "amd64":
		return machine == elf.EM_X86_64
	case "arm64":
		return machine == elf.EM_AARCH64
	default:
		return false
	}
}
