// Package docker runs bottles as containers of an engine that speaks the Docker Engine API: Docker
// or Podman, on this host or another one, with any runtime the engine knows.
//
// A bottle is one container without a network, with a root file system nobody can write to and no
// engine socket. cork, this program, is its first process: it seals the container's own network
// namespace, gives up root, and serves the wire. What is between it and the warden depends on where
// the engine is:
//
//	engine on this kernel    a unix socket in a private folder that the container shows cork. The
//	                         ways out are handed over it as descriptors, as native's are: their
//	                         bytes never touch the engine.
//	anywhere else            the container's attached standard input and output. Nothing assumes a
//	                         shared file system: cork and the bottle's files are copied in, home
//	                         and workspace are volumes that are copied out at the end.
//
// The engine is root's, so the agent must not be root in any sense: it runs under the operator's
// own ids where the container's are the host's, else under ids that own nothing.
package docker

import (
	"os"

	"github.com/claude-bottle/claude-bottle/internal/bottle"
)

// Name is the word the operator types.
const Name = "docker"

// Labels mark everything of ours in an engine.
const (
	labelID      = "claude-bottle.id"      // of the bottle
	labelLent    = "claude-bottle.lent"    // JSON: where folders are mounted under other ids on the engine's host
	labelCarried = "claude-bottle.carried" // JSON: the volumes to be copied out; see carried
	labelHost    = "claude-bottle.host"    // whose they are: another host's are not ours to touch
)

// ownFolder is ours in the bottle's folder on this host.
const ownFolder = "docker"

// Places in the container that are ours. Nothing in them is secret, and the agent can't write there.
const (
	ownDir   = "/.claude-bottle"
	corkPath = ownDir + "/cork"
	wirePath = ownDir + "/wire"
)

// containerName names the container of a bottle, so that an id can't be taken twice.
func containerName(id bottle.ID) string { return "claude-bottle-" + id.String() }

const stageSuffix = "-stage"

// stageName names the container that a bottle's layer is made in.
func stageName(id bottle.ID) string { return containerName(id) + stageSuffix }

// labelsOf are the labels of a bottle's container. All of ours are there, empty where there is
// nothing to say: an engine adds the image's to those that aren't, and an image may be anybody's.
func labelsOf(id bottle.ID) map[string]string {
	host, err := os.Hostname()
	if err != nil {
		host = "" // nobody's: nothing of it is ours to touch
	}
	return map[string]string{labelID: id.String(), labelHost: host, labelLent: "", labelCarried: ""}
}
