package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/claude-bottle/claude-bottle/internal/launch"
	"github.com/claude-bottle/claude-bottle/internal/progress"
)

// launch brings a bottle up, showing how it goes, and then attaches the terminal or leaves.
func (a *app) launch(ctx context.Context, p preflight, detach bool) error {
	h, settle, err := a.bringUp(ctx, p, false, detach)
	if err != nil {
		return err
	}
	if err := settle(); err != nil {
		return err
	}
	if detach {
		putln(a.sys.Stdout, h.ID)
		putf(a.sys.Stderr, "attach with: claude-bottle attach %s\n", h.ID)
		return nil
	}
	return a.attachTo(ctx, h.Client, h.Dir)
}

// bringUp starts the warden and follows the launch to its end, showing how it goes. Until settle is called
// an interrupt ends the launch and leaves no bottle, which settle tells when one came after its end.
// Unattended says that nobody is going to attach.
func (a *app) bringUp(ctx context.Context, p preflight, quiet, unattended bool) (_ *launch.Handle, settle func() error, err error) {
	options, err := a.resolved(ctx, p, unattended)
	if err != nil {
		return nil, nil, err
	}
	ctx, release := interruptible(ctx)
	h, err := a.raise(ctx, options, newLaunchView(a.sys, quiet).show)
	if err != nil {
		release()
		return nil, nil, err
	}
	return h, func() error {
		if release() {
			return errors.Join(errInterrupted, a.abandon(h))
		}
		return nil
	}, nil
}

// resolved is all that a launch of p takes, with what the operator's yes allows to be read and asked.
func (a *app) resolved(ctx context.Context, p preflight, unattended bool) (launch.Options, error) {
	options, err := a.launchOptions()
	if err != nil {
		return options, err
	}
	options.Plan, options.Unattended = p.plan, unattended
	if options.Inputs, err = a.inputs(ctx, p.plan); err != nil {
		return options, err
	}
	options.Store, err = a.store()
	return options, err
}

// raise starts the warden and follows the launch to its end; each gets all that it says. The end of ctx
// ends the launch and leaves no bottle.
func (a *app) raise(ctx context.Context, options launch.Options, each func(progress.Event)) (*launch.Handle, error) {
	h, err := launch.Spawn(ctx, options)
	if err != nil {
		return nil, err
	}
	var end *progress.End
	err = h.Client.Progress(ctx, func(e progress.Event) {
		each(e)
		if e.End != nil {
			end = e.End
		}
	})
	switch {
	case ctx.Err() != nil:
		return nil, errors.Join(context.Cause(ctx), a.abandon(h))
	case err != nil:
		return nil, fmt.Errorf("bottle %s: follow its launch: %w", h.ID, err)
	case end == nil:
		return nil, withHint(fmt.Errorf("bottle %s: its warden ended in the middle of the launch", h.ID), "claude-bottle logs %s --launch", h.ID)
	case !end.OK:
		// Whoever reads the words finds the bottle gone.
		if err := a.waitGone(ctx, h.Dir); err != nil {
			return nil, errors.Join(launchError(h.ID.String(), *end), err)
		}
		return nil, launchError(h.ID.String(), *end)
	}
	return h, nil
}

// launchError is a failed launch in the words the warden found for it.
func launchError(id string, end progress.End) error {
	msg := end.Error
	if end.Refused {
		return refusedError{msg, joinNonEmpty("\n", end.Hint, "claude-bottle logs "+id+" --launch shows all of it")}
	}
	return withHint(errors.New(msg), "%s", joinNonEmpty("\n", end.Hint, "claude-bottle logs "+id+" --launch shows all of it"))
}

// stopWait bounds how long an interrupted launch waits for its bottle to be gone.
const stopWait = 30 * time.Second

// stopNow ends a bottle nobody wants any more, also when the operator's patience (ctx) has ended.
func (a *app) stopNow(h *launch.Handle) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	return stopBottle(ctx, h.Client, h.Dir, "interrupted by the operator", 0)
}

// abandon ends a bottle whose launch was interrupted and removes its folder, in which nobody has
// worked yet.
func (a *app) abandon(h *launch.Handle) error {
	if err := a.stopNow(h); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	return h.Dir.Remove(ctx)
}

// launchOptions is what every launch needs to know of this host.
func (a *app) launchOptions() (launch.Options, error) {
	exe, err := a.sys.Executable()
	if err != nil {
		return launch.Options{}, fmt.Errorf("find our own program: %w", err)
	}
	home, err := a.home()
	if err != nil {
		return launch.Options{}, err
	}
	return launch.Options{
		Executable: exe,
		CacheRoot:  filepath.Join(home, "cache"),
		Path:       a.sys.getenv("PATH"),
		Env:        a.wardenEnv(),
		Term:       a.term(),
	}, nil
}

// wardenVariables are the operator's variables a warden may need: to find and install programs, to
// reach the internet and a container engine. It is a list, so that no credential gets there by being in the
// environment.
var wardenVariables = []string{
	"HOME", "PATH", "USER", "LOGNAME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
	"NPM_CONFIG_REGISTRY", "npm_config_registry", "NPM_CONFIG_USERCONFIG", "npm_config_userconfig",
	// Which container engine, and how it is reached.
	"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "SSH_AUTH_SOCK",
	// Which smolvm, and where its machines lie.
	"CLAUDE_BOTTLE_SMOLVM", "CLAUDE_BOTTLE_SMOLVM_DATA", "XDG_DATA_HOME",
}

func (a *app) wardenEnv() []string {
	var env []string
	for _, name := range wardenVariables {
		if v, ok := a.sys.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// term describes the operator's terminal.
func (a *app) term() launch.Term {
	t := launch.Term{Type: a.sys.getenv("TERM"), Color: a.sys.getenv("COLORTERM")}
	if cols, rows, err := term.GetSize(int(a.sys.Stdin.Fd())); err == nil && cols > 0 && rows > 0 && cols < 1<<16 && rows < 1<<16 {
		t.Cols, t.Rows = uint16(cols), uint16(rows)
	}
	return t
}
