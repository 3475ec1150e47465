package image

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Made is an image that was built here, now or by a launch long gone.
type Made struct {
	ID   string   `json:"id"`
	Tags []string `json:"tags,omitempty"` // none for what is left of a build that did not end
	Size int64    `json:"size"`           // bytes, what it shares with others included
	// Created is when it was built.
	Created time.Time `json:"created"`
	// InUse is true when a container, running or not, was made from it.
	InUse bool `json:"in_use,omitempty"`
	// Current is true when a name other than its key's points to it: the next launch is likely to
	// want it.
	Current bool `json:"current,omitempty"`
}

// Found lists the images in the engine that were built here, the newest first. What somebody else
// built from one of ours is not among them, unless it has no name at all.
func Found(ctx context.Context, e Engine) ([]Made, error) {
	m := &maker{Engine: e}
	list, err := m.list(ctx)
	if err != nil {
		return nil, m.engineError("list the images of claude-bottle", err)
	}
	containers, err := e.API.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, m.engineError("list the containers that use images of claude-bottle", err)
	}
	used := map[string]bool{}
	for _, c := range containers.Items {
		used[bare(c.ImageID)] = true
	}
	var made []Made
	for _, s := range list.Items {
		tags, ok := ours(s.RepoTags, s.Labels[KeyLabel])
		if !ok {
			continue
		}
		made = append(made, Made{
			ID: s.ID, Tags: tags, Size: s.Size, Created: time.Unix(s.Created, 0),
			InUse: used[bare(s.ID)], Current: len(tags) > 1,
		})
	}
	slices.SortStableFunc(made, func(a, b Made) int { return b.Created.Compare(a.Created) })
	return made, nil
}

// list lists the images with our label. Podman fails to list at all when one of its images goes
// away meanwhile.
func (m *maker) list(ctx context.Context) (list client.ImageListResult, err error) {
	for range 5 {
		list, err = m.API.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("label", Label+"=1")})
		if err == nil || lost(err) {
			break
		}
	}
	return list, err
}

// ours returns an image's tags that we gave, that of its key last, and whether the image is ours: labels are inherited,
// the tag of one's own key is not.
func ours(repoTags []string, key string) (tags []string, ok bool) {
	tagged := false
	for _, t := range repoTags {
		if strings.HasPrefix(t, "<none>") {
			continue
		}
		tagged = true
		t = short(t)
		switch {
		case len(key) > tagDigits && t == tagOf(key):
			ok = true
		case strings.HasPrefix(t, Repository+":"):
			tags = append(tags, t)
		}
	}
	if ok {
		tags = append(tags, tagOf(key))
	}
	return tags, ok || !tagged
}

// Remove takes away an image that Found listed: our names for it, and the image itself unless
// somebody gave it a name of their own. Removing what is gone is no error; one that a container was
// made from stays, and the error says so.
func Remove(ctx context.Context, e Engine, id string) error {
	m := &maker{Engine: e}
	img, err := e.API.ImageInspect(ctx, id)
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return m.engineError("look for the image "+id, err)
	}
	var labels map[string]string
	if img.Config != nil {
		labels = img.Config.Labels
	}
	names, ok := ours(img.RepoTags, labels[KeyLabel])
	if !ok || labels[Label] != "1" {
		return fmt.Errorf("image %s was not built by claude-bottle: it stays", id)
	}
	if len(names) == 0 {
		names = []string{id}
	}
	for _, name := range names {
		_, err := e.API.ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true})
		if cerrdefs.IsConflict(err) {
			return &Error{
				Why: fmt.Sprintf("image %s stays: %s", name, clean(err.Error())),
				Fix: fmt.Sprintf("remove the containers made from it first: %s ps -a --filter ancestor=%s", m.Kind, name), Err: err,
			}
		}
		if err != nil && !cerrdefs.IsNotFound(err) {
			return m.engineError("remove the image "+name, err)
		}
	}
	return nil
}

// bare is an ID without its algorithm, which Podman leaves out here and there.
func bare(id string) string { return strings.TrimPrefix(id, "sha256:") }
