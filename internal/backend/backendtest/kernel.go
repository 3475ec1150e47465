package backendtest

import (
	"slices"
	"strings"
	"testing"
)

var kernelRows = []row{
	{"system calls that reach for the kernel", systemCalls},
	{"sockets past TCP and UDP", strangeSockets},
	{"typing into the terminal", terminalInjection},
	{"becoming somebody else", otherIdentities},
	{"the first process can't be harmed", firstProcess},
	{"the limit of processes can't be lifted", liftedLimit},
}

// denied are the answers that mean no.
var denied = []string{"EPERM", "EACCES", "ENOSYS"}

func systemCalls(t *testing.T, c Config) {
	f := up(t, c)
	came := f.attack("syscalls", false)
	for name, how := range came {
		if name == "twin landlock" && f.bottle.Report().Landlock == 0 {
			continue // there is none, and the report says so
		}
		if twin := strings.HasPrefix(name, "twin "); twin && how != "ok" {
			t.Errorf("%s: %s", name, how)
		} else if !twin && !slices.Contains(denied, how) {
			t.Errorf("%s: %s", name, how)
		}
	}
	if len(came) < 50 {
		t.Errorf("only %d system calls were tried: %v", len(came), came)
	}
}

func strangeSockets(t *testing.T, c Config) {
	f := up(t, c)
	for name, how := range f.attack("sockets", false) {
		if twin := strings.HasPrefix(name, "twin "); twin && how != "ok" {
			t.Errorf("%s: %s", name, how)
		} else if !twin && !slices.Contains(append(denied, "EAFNOSUPPORT", "EPROTONOSUPPORT"), how) {
			t.Errorf("%s: %s", name, how)
		}
	}
	f.fails("ping -c 1 -w 1 127.0.0.1")
}

func terminalInjection(t *testing.T, c Config) {
	f := up(t, c)
	came := f.attack("tty", true)
	for _, name := range []string{"TIOCSTI", "TIOCSTI with high bits", "TIOCLINUX", "TIOCSETD"} {
		if how := came[name]; !slices.Contains(denied, how) {
			t.Errorf("%s: %q", name, how)
		}
	}
	if came["twin TIOCGWINSZ"] != "ok" {
		t.Errorf("the terminal does not work: %v", came)
	}
}

func otherIdentities(t *testing.T, c Config) {
	f := up(t, c)
	status := f.sh("cat /proc/self/status")
	uid, gid, _ := strings.Cut(f.ids(), ":")
	for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
		"CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:" + strings.Repeat("\t"+uid, 4), "Gid:" + strings.Repeat("\t"+gid, 4)} {
		if !strings.Contains(status, want) {
			t.Errorf("the agent's status lacks %q", want)
		}
	}
	for name, how := range f.attack("identity", false) {
		if !slices.Contains(append(denied, "EINVAL"), how) {
			t.Errorf("%s: %s", name, how)
		}
	}
	// A set-user-id file of one's own gives nothing either.
	f.sh(`cp /bin/sh /workspace/s; chmod 6755 /workspace/s; test "$(/workspace/s -pc 'id -u')" = ` + uid)
	if r := f.run("/bin/sh", "-c", "su -c id root < /dev/null || sudo -n id"); strings.Contains(r.out, "uid=0") {
		t.Errorf("became root: %s", r.out)
	}
}

func firstProcess(t *testing.T, c Config) {
	f := up(t, c)
	for name, how := range f.attack("init", false) {
		if !slices.Contains(append(denied, "ESRCH"), how) {
			t.Errorf("%s: %s", name, how)
		}
	}
	f.run("/bin/sh", "-c", "kill -9 -1")
	f.run("/bin/sh", "-c", "for s in HUP INT QUIT TERM SEGV BUS ABRT STOP KILL; do kill -$s 1; kill -$s 0; done")
	f.run("/bin/sh", "-c", "for t in /proc/1/task/*; do kill -SEGV ${t##*/}; done")
	if got := f.sh("echo alive"); got != "alive" {
		t.Errorf("got %q", got)
	}
}

func liftedLimit(t *testing.T, c Config) {
	f := up(t, c)
	for name, how := range f.attack("rlimit", false) {
		if twin := strings.HasPrefix(name, "twin "); twin && how != "ok" {
			t.Errorf("%s: %s", name, how)
		} else if !twin && !slices.Contains(denied, how) {
			t.Errorf("%s: %s", name, how)
		}
	}
}
