package docker

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/claude-bottle/claude-bottle/internal/backend/carry"
	"github.com/claude-bottle/claude-bottle/internal/workspace"
)

// carriedFolders are copies: writable ones are volumes of the engine, filled before the container
// starts and copied out when it has ended; cork, the bottle's files and what is read-only become a
// layer over the image, made for this bottle alone.
type carriedFolders struct {
	start   *start
	volumes []carried
}

// carried is a writable folder of this host and the volume that stands for it.
type carried struct {
	Volume string `json:"volume"`
	Source string `json:"source"` // on this host
	Target string `json:"target"` // in the container
}

// carry makes the layer and lays out the volumes.
func (s *start) carry(ctx context.Context) (folders, error) {
	f := &carriedFolders{start: s}
	for _, m := range s.spec.Mounts {
		if !m.Writable {
			continue
		}
		if st, err := os.Stat(m.Source); err != nil || !st.IsDir() {
			return nil, fmt.Errorf("mount %s: only folders can be written to with an engine elsewhere (%v)", m.Source, err)
		}
		f.volumes = append(f.volumes, carried{
			Volume: containerName(s.spec.ID) + "-" + strconv.Itoa(len(f.volumes)), Source: m.Source, Target: m.Target,
		})
	}
	api := s.engine.API()
	for _, v := range f.volumes {
		s.undo.Add(func() error { // runs when the container is gone, which made the volume
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return removeVolume(ctx, api, v.Volume)
		})
	}
	// cork gives the volumes to the agent, and sees alone what they hold.
	s.shape.setup.Own, s.shape.setup.Meter = s.shape.setup.Writable, s.spec.Limits.Disk
	return f, f.layer(ctx)
}

func (f *carriedFolders) mounts() []mount.Mount {
	var out []mount.Mount
	for _, v := range f.volumes {
		out = append(out, mount.Mount{
			Type: mount.TypeVolume, Source: v.Volume, Target: v.Target,
			VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: map[string]string{labelID: f.start.spec.ID.String()}},
		})
	}
	return out
}

func (f *carriedFolders) label(labels map[string]string) error {
	text, err := json.Marshal(f.volumes)
	labels[labelCarried] = string(text)
	return err
}

// layer makes the image of this bottle: ours under what nobody in it may change.
func (f *carriedFolders) layer(ctx context.Context) (err error) {
	s, api := f.start, f.start.engine.API()
	id := s.spec.ID.String()
	s.say("copying cork and the bottle's files to the engine")
	making, heard := outlasting(ctx)
	defer heard()
	stage, err := api.ContainerCreate(making, client.ContainerCreateOptions{
		Config:     &container.Config{Image: s.shape.image, Cmd: []string{corkPath}, Labels: labelsOf(s.spec.ID), User: "0:0"},
		HostConfig: &container.HostConfig{NetworkMode: "none", LogConfig: container.LogConfig{Type: "none"}},
		Name:       stageName(s.spec.ID),
	})
	if err != nil {
		return fmt.Errorf("container to copy into: %w", explain(err))
	}
	removeStage := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return removeContainer(ctx, api, stage.ID)
	}
	defer func() { err = errors.Join(err, removeStage()) }()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := f.pack(ctx, w)
		_ = w.CloseWithError(err) // never fails
		packed <- err
	}()
	_, err = api.CopyToContainer(ctx, stage.ID, client.CopyToContainerOptions{DestinationPath: "/", Content: r})
	_ = r.CloseWithError(io.ErrClosedPipe) // ends the packing when the engine stopped reading
	if perr := <-packed; perr != nil && !errors.Is(perr, io.ErrClosedPipe) {
		err = perr // the client says of it that the engine can't be reached
	}
	if err != nil {
		return fmt.Errorf("copy cork and the bottle's files in: %w", explain(err))
	}
	committing, heard := outlasting(ctx)
	defer heard()
	made, err := api.ContainerCommit(committing, stage.ID, client.ContainerCommitOptions{
		Changes: []string{"LABEL " + labelID + "=" + id}, NoPause: true,
		Config: &container.Config{}, // of which nothing counts, but Podman wants one
	})
	if err != nil {
		return fmt.Errorf("keep what was copied in: %w", explain(err))
	}
	s.shape.image = made.ID
	s.undo.Add(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return removeImage(ctx, api, made.ID)
	})
	return nil
}

// pack writes the layer: cork, the files, the read-only mounts.
func (f *carriedFolders) pack(ctx context.Context, w io.Writer) error {
	s := f.start
	tw := tar.NewWriter(w)
	err := carry.File(tw, s.cork, corkPath, 0o755)
	for _, file := range s.files() {
		if err == nil {
			err = f.outside(file.Path)
		}
		if err == nil {
			err = carry.Bytes(tw, file.Path, file.Mode, file.Data)
		}
	}
	for _, m := range s.spec.Mounts {
		if m.Writable || err != nil {
			continue
		}
		if err = f.outside(m.Target); err == nil {
			err = carry.Tree(ctx, tw, m.Source, m.Target)
		}
	}
	return errors.Join(err, tw.Close())
}

// outside refuses what would have to be read-only in a folder that is the agent's: a copy there
// could not be kept from it.
func (f *carriedFolders) outside(target string) error {
	for _, v := range f.volumes {
		if strings.HasPrefix(target, v.Target+"/") {
			return fmt.Errorf("%s lies in %s, which the agent may write to: with an engine elsewhere it could not be kept from changing it", target, v.Target)
		}
	}
	for _, dir := range temporaryFolders {
		if strings.HasPrefix(target, dir+"/") {
			return fmt.Errorf("%s lies in %s, which is empty at every start", target, dir)
		}
	}
	return nil
}

// fill puts what the folders hold into the volumes, as the agent's.
func (f *carriedFolders) fill(ctx context.Context) error {
	for _, v := range f.volumes {
		if err := f.copyIn(ctx, v); err != nil {
			return fmt.Errorf("copy %s to the engine: %w", v.Source, explain(err))
		}
	}
	return nil
}

func (f *carriedFolders) copyIn(ctx context.Context, v carried) error {
	entries, err := os.ReadDir(v.Source)
	if err != nil || len(entries) == 0 {
		return err
	}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		r, w := io.Pipe()
		inner := make(chan error, 1)
		go func() {
			_, err := workspace.Tar(ctx, v.Source, w, nil)
			_ = w.CloseWithError(err) // never fails
			inner <- err
		}()
		err := carry.Owned(pw, tar.NewReader(r), f.start.who.agentUID, f.start.who.agentGID)
		_ = r.CloseWithError(io.ErrClosedPipe) // ends the reading of the tree when writing failed
		err = errors.Join(err, <-inner)
		_ = pw.CloseWithError(err) // never fails
		done <- err
	}()
	_, err = f.start.engine.API().CopyToContainer(ctx, f.start.id, client.CopyToContainerOptions{DestinationPath: v.Target, Content: pr})
	_ = pr.CloseWithError(io.ErrClosedPipe) // as in layer
	if derr := <-done; derr != nil && !errors.Is(derr, io.ErrClosedPipe) {
		err = derr // as in layer
	}
	return err
}

// settle copies out what the agent left and removes the volumes.
func (f *carriedFolders) settle(ctx context.Context) error {
	return bringBack(ctx, f.start.engine.API(), f.start.id, f.volumes)
}

// bringBack copies volumes out of a container that has ended. What a folder held before is replaced
// as a whole, and only when the copy is complete.
func bringBack(ctx context.Context, api client.APIClient, id string, volumes []carried) error {
	var errs []error
	for _, v := range volumes {
		if err := copyOut(ctx, api, id, v); err != nil {
			errs = append(errs, fmt.Errorf("copy %s out of the container, whose volume %s is kept: %w", v.Target, v.Volume, err))
		}
	}
	return errors.Join(errs...)
}

func copyOut(ctx context.Context, api client.APIClient, id string, v carried) error {
	if !carry.Awaited(v.Source) {
		return nil
	}
	// What lies in it: engines differ in how they name the folder itself.
	from, err := api.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: v.Target + "/."})
	if err != nil {
		return explain(err)
	}
	defer from.Content.Close() // read to its end, or useless
	return carry.Home(v.Source, from.Content)
}
