package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/claude-bottle/claude-bottle/internal/secret"
)

// The key's two forms; at most one of them exists.
const (
	identityPlain  = "identity.txt"
	identityLocked = "identity.age"
)

func (v *Vault) tokenFile(login string) string { return filepath.Join(v.dir, login+".age") }

func (v *Vault) writeToken(login string, value secret.Value) error {
	key, err := v.identity()
	if errors.Is(err, fs.ErrNotExist) {
		key, err = v.newIdentity()
	}
	if err != nil {
		return err
	}
	data, err := seal(key.Recipient(), value.Reveal())
	if err != nil {
		return fmt.Errorf("login %s: %w", login, err)
	}
	return writeFile(v.tokenFile(login), data)
}

func (v *Vault) readToken(login string) (secret.Value, error) {
	name := v.tokenFile(login)
	data, err := readSmall(name)
	if err != nil {
		return secret.Value{}, fmt.Errorf("login %s: %w", login, err)
	}
	key, err := v.identity()
	if err != nil {
		return secret.Value{}, fmt.Errorf("login %s: %w", login, err)
	}
	text, err := unseal(key, data)
	if err == nil && text == "" {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("login %s: %s is damaged or belongs to another key: log in again (%w)", login, name, err)
	}
	return secret.New(text), nil
}

// identity returns the file store's key, or an error wrapping fs.ErrNotExist.
func (v *Vault) identity() (*age.X25519Identity, error) {
	name := filepath.Join(v.dir, identityPlain)
	data, err := readSmall(name)
	text := string(data)
	if errors.Is(err, fs.ErrNotExist) {
		name = filepath.Join(v.dir, identityLocked)
		if data, err = readSmall(name); err == nil {
			text, err = v.unlock(data)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("vault key: %w", err)
	}
	key, err := age.ParseX25519Identity(string(bytes.TrimSpace([]byte(text))))
	if err != nil {
		// The library's error could quote the key.
		return nil, fmt.Errorf("vault key: %s is damaged: remove it and log in again", name)
	}
	return key, nil
}

func (v *Vault) unlock(data []byte) (string, error) {
	if v.o.Passphrase == nil {
		return "", errors.New("it is protected by a passphrase, and there is no terminal to ask for it")
	}
	pass, err := v.o.Passphrase()
	if err != nil {
		return "", err
	}
	id, err := age.NewScryptIdentity(pass.Reveal())
	if err != nil {
		return "", err
	}
	text, err := unseal(id, data)
	if err != nil {
		return "", fmt.Errorf("wrong passphrase, or %s is damaged: %w", identityLocked, err)
	}
	return text, nil
}

func (v *Vault) newIdentity() (*age.X25519Identity, error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("vault key: %w", err)
	}
	name, data := identityPlain, []byte(key.String()+"\n")
	if v.o.Passphrase != nil {
		pass, err := v.o.Passphrase()
		if err != nil {
			return nil, fmt.Errorf("vault key: %w", err)
		}
		to, err := age.NewScryptRecipient(pass.Reveal())
		if err != nil {
			return nil, fmt.Errorf("vault key: %w", err)
		}
		if v.work != 0 {
			to.SetWorkFactor(v.work)
		}
		name = identityLocked
		if data, err = seal(to, key.String()); err != nil {
			return nil, fmt.Errorf("vault key: %w", err)
		}
	}
	return key, writeFile(filepath.Join(v.dir, name), data)
}

func seal(to age.Recipient, text string) ([]byte, error) {
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unseal(id age.Identity, data []byte) (string, error) {
	r, err := age.Decrypt(bytes.NewReader(data), id)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return string(text), err
}

// readSmall reads a regular file of at most maxFile bytes.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes: that is none of ours", name, maxFile)
	}
	return data, nil
}

// writeFile replaces name with data, mode 0600, so that a crash leaves the old file or the new.
func writeFile(name string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-") // made with 0600
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("vault: write %s: %w", name, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil // the rename happened; only its durability is the file system's own affair now
	}
	defer d.Close()
	_ = d.Sync() // some file systems refuse it for folders
	return nil
}
