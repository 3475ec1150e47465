package table_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claude-bottle/claude-bottle/internal/smolvm/smolvmtest/table"
)

// parse splits a line at spaces; ” is an empty word.
func parse(version, line string) (*table.Parsed, error) {
	words := strings.Fields(line)
	for i := range words {
		if words[i] == "''" {
			words[i] = ""
		}
	}
	return table.For(version).Parse(words)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, says string }{
		// Unknown words.
		{"machine create --bogus", "unexpected argument '--bogus' found"},
		{"machine create -Z", "unexpected argument '-Z' found"},
		{"machine bogus", "unrecognized subcommand 'bogus'"},
		{"bogus", "unrecognized subcommand 'bogus'"},
		{"--bogus", "unexpected argument '--bogus' found"},
		{"machine --version", "unexpected argument '--version' found"},
		{"machine create --nam x", "unexpected argument '--nam' found"},
		{"machine exec -n x true", "unexpected argument '-n' found"},
		{"machine images -n x", "unexpected argument '-n' found"},
		{"machine prune -n x", "unexpected argument '-n' found"},
		// Words too many.
		{"machine create myvm", "unexpected argument 'myvm' found"},
		{"machine delete x", "unexpected argument 'x' found"},
		{"machine ls --json extra", "unexpected argument 'extra' found"},
		{"machine stop -- x", "unexpected argument 'x' found"},
		{"machine cp a b c", "unexpected argument 'c' found"},
		// Repeated.
		{"machine create --name a --name b", "the argument '--name <NAME>' cannot be used multiple times"},
		{"machine create -n a --name b", "the argument '--name <NAME>' cannot be used multiple times"},
		{"machine ls --json --json", "the argument '--json' cannot be used multiple times"},
		{"machine exec -ii true", "the argument '--interactive' cannot be used multiple times"},
		// Without a value, or with one that looks like an option.
		{"machine create --name", "a value is required for '--name <NAME>' but none was supplied"},
		{"machine create -n", "a value is required for '--name <NAME>' but none was supplied"},
		{"machine create --name --net", "a value is required for '--name <NAME>' but none was supplied"},
		{"machine create --name -- true", "a value is required for '--name <NAME>' but none was supplied"},
		{"machine create --name --x", "unexpected argument '--x' found"},
		{"machine exec -e -A=1 true", "unexpected argument '-A' found"},
		{"machine ls --json=true", "unexpected value 'true' for '--json' found; no more were expected"},
		// Values of the wrong kind.
		{"machine create --cpus abc", "invalid value 'abc' for '--cpus <N>': invalid digit found in string"},
		{"machine create --cpus 256", "invalid value '256' for '--cpus <N>': 256 is not in 0..=255"},
		{"machine create --mem=-1", "invalid value '-1' for '--mem <MiB>'"},
		{"machine start --fork-pool-size 0", "number would be zero for non-zero type"},
		{"machine create --allow-cidr 10.0.0.0/33", "invalid CIDR"},
		{"machine create -p 99999:1", "invalid host port: 99999"},
		{"machine create -p 0", "port 0 is not valid"},
		{"machine create --dns ::1", "invalid IPv4 address syntax"},
		{"machine create --net-backend slirp", "[possible values: tsi, virtio-net]"},
		{"machine create --image ''", "image reference must not be empty"},
		{"machine create --max-image-size 5x", "invalid size unit 'x'"},
		{"machine create --gpu-vram 0", "--gpu-vram must be a positive number"},
		{"machine exec --timeout 0s true", "timeout must be greater than 0"},
		{"machine exec --timeout 5 true", "time unit needed"},
		{"machine exec --timeout 5parsec true", "unknown time unit"},
		{"serve openapi -f xml", "[possible values: json, yaml]"},
		// What arguments ask of each other.
		{"machine exec -d -i true", "the argument '--detach' cannot be used with '--interactive'"},
		{"machine exec -i -d true", "the argument '--interactive' cannot be used with '--detach'"},
		{"machine create --from a --image b", "the argument '--from <PATH>' cannot be used with '--image <IMAGE>'"},
		{"machine update -n x --net --no-net", "cannot be used with"},
		{"machine start --cuda-vram-limit-mib 5", "were not provided:\n  --fork-pool-size <CLONES>"},
		{"machine delete --force", "were not provided:\n  --name <NAME>"},
		{"machine exec --name x", "were not provided:\n  <COMMAND>..."},
		{"machine exec --name x --", "were not provided:\n  <COMMAND>..."},
		{"machine resize -n x", "were not provided:\n  <--storage <GiB>|--overlay <GiB>>"},
		{"pack create --image x", "were not provided:\n  --output <PATH>"},
		{"pack create -o x", "were not provided:\n  --image <IMAGE>"},
		{"pack create -o x --from-vm v --image i", "cannot be used with"},
		{"machine cp a", "were not provided:\n  <DST>"},
		// Nothing.
		{"", "Usage: smolvm <COMMAND>"},
		{"machine", "Usage: smolvm machine <COMMAND>"},
		{"config registries", "Usage: smolvm config registries <COMMAND>"},
	} {
		_, err := parse("1.9.2", c.line)
		var said *table.Exit
		if !errors.As(err, &said) || said.Code != 2 || !strings.Contains(said.Text, c.says) {
			t.Errorf("%s: got %v, want exit 2 with %q", c.line, err, c.says)
		}
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	_, err := parse("1.9.2", "machine create --bogus")
	const want = "error: unexpected argument '--bogus' found\n\n" +
		"  tip: to pass '--bogus' as a value, use '-- --bogus'\n\n" +
		"Usage: smolvm machine create [OPTIONS] [-- <COMMAND>...]\n\n" +
		"For more information, try '--help'.\n"
	if said, ok := errors.AsType[*table.Exit](err); !ok || said.Text != want {
		t.Errorf("got %v, want:\n%s", err, want)
	}
}

func TestTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, command, dest, want string }{
		{"machine create --name=x", "machine create", "name", "x"},
		{"machine create -nx", "machine create", "name", "x"},
		{"machine create -n=x", "machine create", "name", "x"},
		{"machine create -n x", "machine create", "name", "x"},
		{"vm rm -fn x", "machine delete", "name", "x"},
		{"machine list", "machine ls", "json", ""},
		{"vm sh -n x", "machine shell", "name", "x"},
		{"pack create -s f -o x", "pack create", "smolfile", "f"},
		{"machine create --env=-A=1 -e B=2", "machine create", "env", "-A=1 B=2"},
		{"machine create", "machine create", "cpus", ""},
		{"machine exec -it --name x sh", "machine exec", "command", "sh"},
		{"machine exec --name x -- a -- b", "machine exec", "command", "a -- b"},
		{"machine exec --name x echo -- hi", "machine exec", "command", "echo -- hi"},
		{"machine exec --name x ls -x --name y", "machine exec", "command", "ls -x --name y"},
		{"machine run -e A=1 alpine -e B", "machine run", "command", "alpine -e B"},
		{"pack run -i sh -c x", "pack run", "command", "sh -c x"},
		{"machine create -n x -- sh --mem 5", "machine create", "command", "sh --mem 5"},
		{"machine create --allow-cidr 1.1.1.1", "machine create", "allow_cidr", "1.1.1.1"},
		{"machine cp - x:/y", "machine cp", "src", "-"},
		{"machine cp --mode 600 a x:/y", "machine cp", "dst", "x:/y"},
		{"machine cp -- a x:/y", "machine cp", "dst", "x:/y"},
		{"_boot-vm anything --at all", "_boot-vm", "", "anything --at all"},
	} {
		p, err := parse("1.9.2", c.line)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if got := strings.Join(p.All(c.dest), " "); p.Command != c.command || got != c.want {
			t.Errorf("%s: got %s with %s=%q, want %s with %q", c.line, p.Command, c.dest, got, c.command, c.want)
		}
	}
	p, err := parse("1.9.2", "machine create --name=")
	if err != nil || !p.Has("name") || p.One("name") != "" || p.One("mem") != "8192" {
		t.Errorf("an empty name: %v %v", p, err)
	}
}

func TestHelpNamesEveryOption(t *testing.T) {
	t.Parallel()
	p, err := parse("1.9.2", "machine create")
	if err != nil {
		t.Fatal(err)
	}
	_, err = parse("1.9.2", "machine create --name x --help")
	var said *table.Exit
	if !errors.As(err, &said) || said.Code != 0 {
		t.Fatalf("got %v, want help", err)
	}
	longs := p.Longs()
	for _, want := range []string{"--from", "--mount-socket", "--label"} {
		if !slices.Contains(longs, want) {
			t.Errorf("no %s in the table", want)
		}
	}
	for _, long := range longs {
		if !strings.Contains(said.Text, long+" ") && !strings.Contains(said.Text, long+"\n") {
			t.Errorf("help is silent about %s", long)
		}
	}
	for _, line := range []string{"-h", "--help", "help", "machine -h", "machine ls -h", "pack help"} {
		if _, err := parse("1.9.2", line); !errors.As(err, &said) || said.Code != 0 {
			t.Errorf("%s: got %v, want help", line, err)
		}
	}
}

// 0.8.2 took names as words, and had nothing that came later.
func TestOldVersion(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"machine create x --net", "machine delete x --force", "machine update x --cpus 2", "machine data-dir x",
		"machine create x --from a", "machine exec --name x -it sh", "machine ls --json", "pack create --image a -o b",
	} {
		if _, err := parse("0.8.2", line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range []string{
		"machine create --name x", "machine delete --name x --force", "machine create x --label a=b",
		"machine create x --mount-socket a:b", "machine create x -- true", "machine exec --name x -d true",
		"machine exec --name x --secret-env A=B true", "machine start --forkable", "machine fork --golden x",
		"machine egress-events", "machine cp --mode 600 a x:/y", "machine delete x --cascade", "machine create x --dns 1.1.1.1",
		"machine delete",
	} {
		_, err := parse("0.8.2", line)
		var said *table.Exit
		if !errors.As(err, &said) || said.Code != 2 {
			t.Errorf("%s: got %v, want exit 2", line, err)
		}
	}
	_, err := parse("0.8.2", "--version")
	if said, ok := errors.AsType[*table.Exit](err); !ok || said.Text != "smolvm 0.8.2\n" || said.Code != 0 {
		t.Errorf("got %v", err)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "1h 30m": 90 * time.Minute, "2min500ms": 2*time.Minute + 500*time.Millisecond, "5 sec": 5 * time.Second} {
		if got, err := table.Duration(text); err != nil || got != want {
			t.Errorf("duration %q is %v (%v), want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]uint64{"5": 5, "8GiB": 8 << 30, "1.5k": 1536, "10 MB": 10 << 20, "7b": 7} {
		if got, err := table.Size(text); err != nil || got != want {
			t.Errorf("size %q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "0", "-1", "1q", "i"} {
		if got, err := table.Size(text); err == nil {
			t.Errorf("size %q is %d, want an error", text, got)
		}
	}
}
