//go:build linux

// Command evil is the agent nobody wants: it runs inside a bottle and does what a prompt-injected
// coding agent could, including what no common tool can do. It is static, so that it runs wherever
// it is copied to, and prints what came of it as one JSON object; it judges nothing.
//
//	evil loop             run commands that come as JSON lines on standard input
//	evil http -via proxy http://host/
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// deeds are the subcommands. Each gets its arguments and returns what to print.
var deeds = map[string]func(args []string) (any, error){
	"loop":     loop,
	"http":     request,
	"tcp":      rawTCP,
	"udp":      rawUDP,
	"dns":      query,
	"lookup":   lookup,
	"unix":     dialUnix,
	"abstract": abstractNames,
	"listen":   listen,
	"relay":    relay,
	"burst":    burst,
	"hammer":   hammer,
	"syscall":  syscalls,
	"tty":      injectTTY,
	"signal":   signalInit,
	"who":      who,
	"write":    write,
	"read":     read,
	"find":     find,
	"forks":    forks,
	"memory":   memory,
	"fill":     fill,
	"span":     span,
	"inodes":   inodes,
	"files":    openFiles,
	"shout":    shout,
}

func main() {
	if len(os.Args) < 2 || deeds[os.Args[1]] == nil {
		names := make([]string, 0, len(deeds))
		for n := range deeds {
			names = append(names, n)
		}
		slices.Sort(names)
		fmt.Fprintln(os.Stderr, "evil: one of", strings.Join(names, ", "))
		os.Exit(2)
	}
	out, err := deeds[os.Args[1]](os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "evil:", err)
		os.Exit(1)
	}
	if out == nil {
		return
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		os.Exit(1)
	}
}

// errText is err's text, empty for none.
func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
