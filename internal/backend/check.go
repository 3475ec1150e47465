package backend

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Bounds of a Spec; a bottle needs a handful of either.
const (
	maxMounts    = 256
	maxFilesSize = 32 << 20 // bytes, all together
)

// Check refuses what no backend can make: drivers call it first.
func (s Spec) Check() error {
	if s.ID.IsZero() {
		return errors.New("the bottle has no id")
	}
	if len(s.Hostname) == 0 || len(s.Hostname) > 63 || strings.Trim(s.Hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != "" {
		return fmt.Errorf("host name %q must be 1 to 63 letters, digits, hyphens and dots", s.Hostname)
	}
	if len(s.Mounts) > maxMounts {
		return fmt.Errorf("%d mounts, at most %d are allowed", len(s.Mounts), maxMounts)
	}
	seen := map[string]bool{}
	for _, m := range s.Mounts {
		if !path.IsAbs(m.Source) || path.Clean(m.Source) != m.Source {
			return fmt.Errorf("mount source %q is not an absolute, clean path", m.Source)
		}
		if err := checkTarget(m.Target); err != nil {
			return fmt.Errorf("mount of %s: %w", m.Source, err)
		}
		if seen[m.Target] {
			return fmt.Errorf("two mounts at %s", m.Target)
		}
		seen[m.Target] = true
	}
	total := 0
	for _, f := range s.Files {
		if err := checkTarget(f.Path); err != nil {
			return fmt.Errorf("file: %w", err)
		}
		total += len(f.Data)
	}
	if total > maxFilesSize {
		return fmt.Errorf("files of %d bytes, at most %d are allowed", total, maxFilesSize)
	}
	return nil
}

// kernelFolders are whose content makes the seal; nothing may be put into them.
var kernelFolders = []string{"/proc", "/sys", "/dev"}

// checkTarget checks a path in the bottle.
func checkTarget(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
		return fmt.Errorf("%q is not an absolute, clean path below /", p)
	}
	for _, k := range kernelFolders {
		if p == k || strings.HasPrefix(p, k+"/") {
			return fmt.Errorf("%s lies in %s, which is the kernel's", p, k)
		}
	}
	return nil
}
