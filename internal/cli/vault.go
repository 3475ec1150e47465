package cli

import (
	"path/filepath"

	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/vault"
)

// vault returns the store of credentials; opening it touches nothing.
func (a *app) vault() (*vault.Vault, error) { return a.vaultWith(a.askPassphrase) }

// vaultWith is vault with its own way of asking for the file store's passphrase; nil never asks.
func (a *app) vaultWith(passphrase func() (secret.Value, error)) (*vault.Vault, error) {
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	return vault.Open(filepath.Join(home, "vault"), vault.Options{
		Bus:        a.sys.getenv("DBUS_SESSION_BUS_ADDRESS"),
		NoKeyring:  a.sys.getenv("CLAUDE_BOTTLE_KEYRING") == "off",
		Passphrase: passphrase,
	}), nil
}

func (a *app) askPassphrase() (secret.Value, error) {
	return a.sys.askHidden("passphrase of your stored logins:")
}
