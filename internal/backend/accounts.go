package backend

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// Accounts returns the files that make a bottle's /etc its own: who there is, what it is called,
// where names are looked up. The agent has the ids uid and gid there, and shell as its shell.
func Accounts(hostname, shell string, uid, gid int) []File {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	var out []File
	for _, f := range [][2]string{
		{"passwd", fmt.Sprintf("root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"+
			"%s:x:%d:%d:agent:%s:%s\n"+
			"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", AgentUser, uid, gid, Home, shell)},
		{"group", fmt.Sprintf("root:x:0:\n%s:x:%d:\nnogroup:x:65534:\n", AgentUser, gid)},
		{"hostname", hostname + "\n"},
		{"hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 " + hostname + "\n"},
		{"resolv.conf", "nameserver 127.0.0.1\n"},
		{"nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\nnetworks: files\n"},
		{"machine-id", hex.EncodeToString(id[:]) + "\n"},
	} {
		out = append(out, File{Path: "/etc/" + f[0], Mode: 0o644, Data: []byte(f[1])})
	}
	return out
}
