package provider

import "fmt"

// Source says which program a template runs: the command to look for on the host and the npm
// packages to install it from when it isn't there. The zero Source means nothing is needed.
type Source struct {
	// Command is the program's name on the host's PATH.
	Command string
	// Package is the npm package that the host's own copy would be part of, by which a script
	// found on the PATH is recognised.
	Package string
	// Version is the one we install: tested with this release of ours.
	Version string
	// Native lists, for each platform we can run bottles on, the package that holds the program
	// as a plain executable.
	Native []Native
}

// IsZero reports whether nothing is to be found or installed.
func (s Source) IsZero() bool { return s.Command == "" }

// Native is the executable for one platform.
type Native struct {
	// Arch is as in runtime.GOARCH.
	Arch string
	// Musl tells a build for musl's C library; a static executable is listed for both.
	Musl bool
	// Spec is what npm is asked for: "name@version".
	Spec string
	// Package is the folder under node_modules that Spec unpacks to.
	Package string
	// Program is the executable, relative to the package's folder.
	Program string
}

// For returns the native package for arch ("amd64", "arm64") and C library.
func (s Source) For(arch string, musl bool) (Native, error) {
	for _, n := range s.Native {
		if n.Arch == arch && n.Musl == musl {
			return n, nil
		}
	}
	libc := "glibc"
	if musl {
		libc = "musl"
	}
	return Native{}, fmt.Errorf("%s %s has no build for linux/%s with %s", s.Command, s.Version, arch, libc)
}

// CPU is n's processor in npm's words.
func (n Native) CPU() string {
	if n.Arch == "amd64" {
		return "x64"
	}
	return n.Arch
}
