package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/backend"
	"github.com/claude-bottle/claude-bottle/internal/bottle"
	"github.com/claude-bottle/claude-bottle/internal/engine"
	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// Backend is the docker backend. Its methods are safe for concurrent use.
type Backend struct {
	exe   string // this program; see backend.CorkFor for what the engine runs
	where func() (engine.Where, error)
	stdio bool // the wire goes over standard input and output also where a socket could be had
}

// New returns the backend. exe is the absolute path of this program, or of any other whose main
// calls CorkMain when its first argument is backend.CorkCommand. The engine is the one the docker
// command would use.
func New(exe string) *Backend {
	return &Backend{exe: exe, where: func() (engine.Where, error) {
		home, err := os.UserHomeDir()
		if err != nil {
			home = "" // there are other places to look
		}
		return engine.Find(os.LookupEnv, home)
	}}
}

// Name implements backend.Backend.
func (*Backend) Name() string { return Name }

// connect reaches the engine.
func (b *Backend) connect(ctx context.Context) (*engine.Engine, error) {
	w, err := b.where()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
	e, err := engine.Connect(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
	return e, nil
}

// young is the age below which something of ours may be part of a bottle that is being made.
const young = time.Minute

// Found implements backend.Backend.
func (b *Backend) Found(ctx context.Context) ([]backend.Leftover, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	e, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close() // nothing is under way any more
	things, err := find(ctx, e.API(), bottle.ID{})
	if err != nil {
		return nil, err
	}
	var out []backend.Leftover
	for _, t := range things {
		out = append(out, backend.Leftover{ID: t.id, What: t.what, Running: t.running, Brings: t.brings, Idle: !t.running && time.Since(t.made) > young})
	}
	return out, nil
}

// Remove implements backend.Backend. What a bottle's volumes hold is copied to the bottle's folders
// first, where those are still there.
func (b *Backend) Remove(ctx context.Context, id bottle.ID) error {
	if id.IsZero() {
		return errors.New("remove a bottle without an id")
	}
	e, err := b.connect(ctx)
	if err != nil {
		return fmt.Errorf("remove what is left of %s: %w", id, err)
	}
	defer e.Close() // nothing is under way any more
	for quiet := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		things, err := find(ctx, e.API(), id)
		if err != nil {
			return err
		}
		for _, t := range things { // containers come before volumes and images, which they use
			if err := t.remove(ctx); err != nil {
				return fmt.Errorf("remove what is left of %s: %s: %w", id, t.what, explain(err))
			}
			if t.stage {
				quiet = time.Now().Add(settling)
			}
		}
		if time.Now().After(quiet) {
			return nil
		}
	}
}

// settling is how long an engine may still make the image that a client who is gone asked it to make
// of a container.
const settling = 2 * time.Second

// thing is something of ours in an engine.
type thing struct {
	id      bottle.ID
	what    string
	made    time.Time
	running bool
	brings  bool
	stage   bool // an image may be in the making of it
	remove  func(context.Context) error
}

// find lists what is ours in the engine, of one bottle or of all.
func find(ctx context.Context, api client.APIClient, only bottle.ID) ([]thing, error) {
	filter := client.Filters{}.Add("label", labelID)
	if !only.IsZero() {
		filter = client.Filters{}.Add("label", labelID+"="+only.String())
	}
	var out []thing
	add := func(labels map[string]string, t thing) {
		id, err := bottle.ParseID(labels[labelID])
		if err != nil || !only.IsZero() && id != only {
			return // not made by us
		}
		t.id = id
		out = append(out, t)
	}
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filter})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", explain(err))
	}
	for _, c := range containers.Items {
		name, ok := ownName(c.Names, c.Labels[labelID])
		if !ok {
			continue // somebody's container of an image that has our labels
		}
		add(c.Labels, thing{
			what: "container " + name, made: time.Unix(c.Created, 0), stage: strings.HasSuffix(name, stageSuffix), running: c.State == container.StateRunning, brings: c.Labels[labelCarried] != "" && ours(c.Labels),
			remove: func(ctx context.Context) error { return removeOrphan(ctx, api, c.ID, c.Labels) },
		})
	}
	lent, err := lentMounts()
	if err != nil {
		return nil, err
	}
	for id, places := range lent {
		if slices.ContainsFunc(out, func(t thing) bool { return t.id == id }) {
			continue // its container takes them along
		}
		add(map[string]string{labelID: id.String()}, thing{
			what: "mount " + strings.Join(places, ", "), made: lentSince(places),
			remove: func(context.Context) error { return takeBack(places) },
		})
	}
	volumes, err := api.VolumeList(ctx, client.VolumeListOptions{Filters: filter})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", explain(err))
	}
	for _, v := range volumes.Items {
		made, _ := time.Parse(time.RFC3339, v.CreatedAt) // of no known age is old
		add(v.Labels, thing{
			what: "volume " + v.Name, made: made,
			remove: func(ctx context.Context) error { return removeVolume(ctx, api, v.Name) },
		})
	}
	images, err := api.ImageList(ctx, client.ImageListOptions{All: true, Filters: filter})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", explain(err))
	}
	for _, i := range images.Items {
		add(i.Labels, thing{
			what: "image " + i.ID, made: time.Unix(i.Created, 0),
			remove: func(ctx context.Context) error { return removeImage(ctx, api, i.ID) },
		})
	}
	return out, nil
}

// lentSince is when folders were lent: their container may have been made since containers were listed. Of
// what can't be told it is now.
func lentSince(places []string) time.Time {
	st, err := os.Stat(filepath.Dir(places[0])) // ours, in which their places were made
	if err != nil {
		return time.Now()
	}
	return st.ModTime()
}

// ownName returns which of a container's names is one we give to those of the bottle id.
func ownName(names []string, id string) (string, bool) {
	for _, n := range names {
		n = strings.TrimPrefix(n, "/")
		if parsed, err := bottle.ParseID(id); err == nil && (n == containerName(parsed) || n == stageName(parsed)) {
			return n, true
		}
	}
	return "", false
}

// removeOrphan ends a container, saves what its volumes hold, and removes it with them.
func removeOrphan(ctx context.Context, api client.APIClient, id string, labels map[string]string) error {
	if err := endContainer(ctx, api, id); err != nil {
		return err
	}
	if text := labels[labelLent]; text != "" && ours(labels) {
		var places []string
		if err := json.Unmarshal([]byte(text), &places); err != nil {
			return fmt.Errorf("label %s: %w", labelLent, err)
		}
		if err := takeBack(places); err != nil {
			return err
		}
	}
	if text := labels[labelCarried]; text != "" && ours(labels) {
		var volumes []carried
		if err := json.Unmarshal([]byte(text), &volumes); err != nil {
			return fmt.Errorf("label %s: %w", labelCarried, err)
		}
		if err := bringBack(ctx, api, id, volumes); err != nil {
			return err
		}
	}
	return removeContainer(ctx, api, id)
}

// ours reports whether paths in labels are this host's.
func ours(labels map[string]string) bool {
	name, err := os.Hostname()
	return err == nil && name != "" && labels[labelHost] == name
}

// stubborn bounds how long an engine may be in two minds about a container: Podman refuses to kill or
// remove one that is just ending.
const stubborn = 10 * time.Second

// endContainer kills a container and waits until nothing runs in it. One that is gone has ended.
func endContainer(ctx context.Context, api client.APIClient, id string) error {
	wait := api.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	_, refused := api.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "KILL"})
	var hurry <-chan time.Time
	if refused != nil { // it has ended, or is about to
		t := time.NewTimer(stubborn)
		defer t.Stop()
		hurry = t.C
	}
	select {
	case <-wait.Result:
		return nil
	case err := <-wait.Error:
		return gone("wait for the container's end", err)
	case <-hurry:
		return gone("end the container", refused)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// removeContainer makes a container disappear, running or not, with the volumes nobody named.
func removeContainer(ctx context.Context, api client.APIClient, id string) error {
	for end := time.Now().Add(stubborn); ; {
		_, err := api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		if _, away := errors.AsType[*engine.Error](err); away || ctx.Err() != nil || time.Now().After(end) {
			return gone("remove the container", err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func removeVolume(ctx context.Context, api client.APIClient, name string) error {
	_, err := api.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
	return gone("remove the volume", err)
}

func removeImage(ctx context.Context, api client.APIClient, id string) error {
	_, err := api.ImageRemove(ctx, id, client.ImageRemoveOptions{Force: true})
	return gone("remove the image", err)
}

// gone makes of something that is not there one that was removed.
func gone(what string, err error) error {
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, explain(err))
}

// maxWords bounds what is repeated of an engine's error, in characters.
const maxWords = 600

// explain makes an engine's error fit to be shown, and says what to do where its own words don't.
func explain(err error) error {
	if err == nil || errors.Is(err, syscall.ENOSPC) { // a full disk of this host tells itself
		return err
	}
	if text := inert.Text(err.Error(), maxWords); text != err.Error() {
		err = errors.New(text)
	}
	for _, e := range []struct{ sign, words string }{
		{"no space left on device", "the engine's disk is full: free some with \"docker system prune\", then try again"},
		{"unknown or invalid runtime name", "the engine has no such runtime: \"docker info\" lists what is registered"},
	} {
		if strings.Contains(strings.ToLower(err.Error()), e.sign) {
			return fmt.Errorf("%w; %s", err, e.words)
		}
	}
	return err
}
