// Package vault keeps the tokens that "claude-bottle login" was given, on the host, so that no
// variable need be exported. Each goes into the operating system's keyring where one answers, else
// into a file encrypted with age. Only names are listed without touching a secret.
//
// What protects what. A keyring entry is protected as the operator's desktop protects it. In the
// file store every token is a file of its own, encrypted to a key that lies beside it in
// "identity.txt" (mode 0600, in a folder of mode 0700). That keeps a token out of a backup, sync
// or search index that takes the token's file alone, and out of sight when a file is shown by
// accident; whoever can read all of the folder, such as any process of the same user, can read the
// tokens. With a passphrase the key itself is encrypted ("identity.age"), and then the folder alone
// is worthless. No bottle ever sees this folder.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/claude-bottle/claude-bottle/internal/secret"
	"golang.org/x/sys/unix"
)

// ErrNotFound is wrapped by Load and Delete when there is no such login.
var ErrNotFound = errors.New("no such login is stored")

// Options say which stores may be used.
type Options struct {
	// Bus is the session bus's address, as DBUS_SESSION_BUS_ADDRESS has it. On Linux the keyring
	// is asked only when it names a socket that exists: without one the keyring library would
	// start programs of its own. Other systems ignore it.
	Bus string
	// NoKeyring keeps everything in files.
	NoKeyring bool
	// Passphrase is asked for when the file store's key is protected by one or, at the first
	// Store, to protect it. Nil stores the key unprotected.
	Passphrase func() (secret.Value, error)
}

// Vault is one folder of stored logins. It is safe for concurrent use by several processes.
type Vault struct {
	dir string
	o   Options
	// work is the passphrase's work factor, log2; 0 is the library's, about a second.
	work int
}

// Open returns the vault in dir. It touches nothing: the folder is made by the first Store.
func Open(dir string, o Options) *Vault { return &Vault{dir: dir, o: o} }

// place is where a login's token lies.
type place string

const (
	inKeyring place = "keyring"
	inFile    place = "file"
)

// index is the content of logins.json: names and places, no secret.
type index struct {
	V      int              `json:"v"` // format version, 1
	Logins map[string]place `json:"logins"`
}

const (
	indexFile = "logins.json"
	// maxFile bounds what is read: tokens are short.
	maxFile = 64 << 10
)

// Logins lists the stored logins by name, sorted. It reads one small file and no secret. A vault
// that was never used has none.
func (v *Vault) Logins() ([]string, error) {
	ix, err := v.index()
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(ix.Logins))
	for name := range ix.Logins {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Store keeps value under login, replacing what was there.
func (v *Vault) Store(ctx context.Context, login string, value secret.Value) error {
	if err := checkName(login); err != nil {
		return err
	}
	if value.Empty() {
		return fmt.Errorf("login %s: the token is empty", login)
	}
	return v.change(ctx, func(ix *index) error {
		before := ix.Logins[login]
		where := inFile
		// A keyring that refuses (locked, no secret service behind the bus) is no reason to fail:
		// the file store is there for that.
		if v.keyringUsable() && keyringSet(ctx, login, value) == nil {
			where = inKeyring
		} else if err := v.writeToken(login, value); err != nil {
			return err
		}
		ix.Logins[login] = where
		if before != "" && before != where {
			return v.forget(ctx, login, before)
		}
		return nil
	})
}

// Load returns what is stored under login, or an error wrapping ErrNotFound.
func (v *Vault) Load(ctx context.Context, login string) (secret.Value, error) {
	if err := checkName(login); err != nil {
		return secret.Value{}, err
	}
	ix, err := v.index()
	if err != nil {
		return secret.Value{}, err
	}
	switch ix.Logins[login] {
	case inKeyring:
		if !v.keyringUsable() {
			return secret.Value{}, fmt.Errorf("login %s is kept in the system keyring, which can't be reached from here: log in again to keep it in a file", login)
		}
		return keyringGet(ctx, login)
	case inFile:
		return v.readToken(login)
	default:
		return secret.Value{}, fmt.Errorf("login %s: %w", login, ErrNotFound)
	}
}

// Delete forgets login, or returns an error wrapping ErrNotFound.
func (v *Vault) Delete(ctx context.Context, login string) error {
	if err := checkName(login); err != nil {
		return err
	}
	return v.change(ctx, func(ix *index) error {
		where, ok := ix.Logins[login]
		if !ok {
			return fmt.Errorf("login %s: %w", login, ErrNotFound)
		}
		if err := v.forget(ctx, login, where); err != nil {
			return err
		}
		delete(ix.Logins, login)
		return nil
	})
}

func (v *Vault) forget(ctx context.Context, login string, where place) error {
	if where == inKeyring {
		return keyringDelete(ctx, login)
	}
	if err := os.Remove(v.tokenFile(login)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("login %s: %w", login, err)
	}
	return nil
}

// checkName accepts lower-case letters, digits and hyphens: a login's name is a file's name too.
func checkName(login string) error {
	ok := login != "" && len(login) <= 64
	for i := range len(login) {
		c := login[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fmt.Errorf("login name %q: only a-z, 0-9 and '-' are allowed, at most 64", login)
	}
	return nil
}

func (v *Vault) index() (index, error) {
	ix := index{V: 1, Logins: map[string]place{}}
	name := filepath.Join(v.dir, indexFile)
	data, err := readSmall(name)
	if errors.Is(err, fs.ErrNotExist) {
		return ix, nil
	}
	if err != nil {
		return index{}, fmt.Errorf("vault: %w", err)
	}
	if err := json.Unmarshal(data, &ix); err != nil {
		return index{}, fmt.Errorf("vault: %s is damaged (%w): remove it and log in again", name, err)
	}
	if ix.V != 1 {
		return index{}, fmt.Errorf("vault: %s has format version %d, this program knows 1: a newer claude-bottle wrote it", name, ix.V)
	}
	for login, where := range ix.Logins {
		if checkName(login) != nil || where != inKeyring && where != inFile {
			return index{}, fmt.Errorf("vault: %s is damaged (entry %q): remove it and log in again", name, login)
		}
	}
	if ix.Logins == nil {
		ix.Logins = map[string]place{}
	}
	return ix, nil
}

// change runs f on the index while no other process changes it, and keeps what f left.
func (v *Vault) change(ctx context.Context, f func(*index) error) error {
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	// The folder may be older than us, and wider.
	if err := os.Chmod(v.dir, 0o700); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	l, err := os.OpenFile(filepath.Join(v.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	defer l.Close() // drops the lock
	// Held for moments only, so waiting for it needs no ctx.
	if err := unix.Flock(int(l.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("vault: lock: %w", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ix, err := v.index()
	if err != nil {
		return err
	}
	if err := f(&ix); err != nil {
		return err
	}
	data, err := json.MarshalIndent(ix, "", "  ")
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return writeFile(filepath.Join(v.dir, indexFile), append(data, '\n'))
}
