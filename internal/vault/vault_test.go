package vault_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/claude-bottle/claude-bottle/internal/secret"
	"github.com/claude-bottle/claude-bottle/internal/vault"
	"github.com/zalando/go-keyring"
)

const token = "sk-ant-oat01-a-token-that-must-not-show"

func store(t *testing.T, v *vault.Vault, login, value string) {
	t.Helper()
	if err := v.Store(t.Context(), login, secret.New(value)); err != nil {
		t.Fatalf("store %s: %v", login, err)
	}
}

func wantLoad(t *testing.T, v *vault.Vault, login, want string) {
	t.Helper()
	if got, err := v.Load(t.Context(), login); err != nil || got.Reveal() != want {
		t.Errorf("load %s: got it wrong (%v)", login, err)
	}
}

func wantLogins(t *testing.T, v *vault.Vault, want ...string) {
	t.Helper()
	if got, err := v.Logins(); err != nil || !slices.Equal(got, want) {
		t.Errorf("logins %q, %v; want %q", got, err, want)
	}
}

func TestFileStore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vault")
	v := vault.Open(dir, vault.Options{NoKeyring: true})
	wantLogins(t, v)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("listing made the folder: %v", err)
	}
	if _, err := v.Load(t.Context(), "claude"); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("load from nothing: %v", err)
	}
	store(t, v, "codex", "one")
	store(t, v, "claude", "old")
	store(t, v, "claude", token)
	v = vault.Open(dir, vault.Options{NoKeyring: true})
	wantLogins(t, v, "claude", "codex")
	wantLoad(t, v, "claude", token)
	wantLoad(t, v, "codex", "one")

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil || strings.Contains(string(data), "must-not-show") {
			t.Errorf("%s shows the token (%v)", e.Name(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info, err)
	}

	if err := v.Delete(t.Context(), "claude"); err != nil {
		t.Error(err)
	}
	if err := v.Delete(t.Context(), "claude"); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
	wantLogins(t, v, "codex")
	if _, err := os.Stat(filepath.Join(dir, "claude.age")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the token's file is still there: %v", err)
	}
}

func TestBadNamesAndEmptyTokensAreRefused(t *testing.T) {
	t.Parallel()
	v := vault.Open(t.TempDir(), vault.Options{NoKeyring: true})
	for _, login := range []string{"", "..", "a/b", "A", "a b", "ü", strings.Repeat("a", 65)} {
		if err := v.Store(t.Context(), login, secret.New("x")); err == nil {
			t.Errorf("stored under %q", login)
		}
		if _, err := v.Load(t.Context(), login); err == nil || errors.Is(err, vault.ErrNotFound) {
			t.Errorf("load %q: %v", login, err)
		}
	}
	if err := v.Store(t.Context(), "claude", secret.Value{}); err == nil {
		t.Error("stored nothing")
	}
	wantLogins(t, v)
}

func TestDamageIsToldAndNeverShowsASecret(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ file, data string }{
		{"logins.json", "{"},
		{"logins.json", `{"v":2,"logins":{}}`},
		{"logins.json", `{"v":1,"logins":{"../x":"file"}}`},
		{"logins.json", `{"v":1,"logins":{"claude":"cloud"}}`},
		{"claude.age", "not age"},
		{"claude.age", ""},
		{"identity.txt", "AGE-SECRET-KEY-1MUST-NOT-SHOW"},
		{"identity.txt", strings.Repeat("x", 100<<10)},
	} {
		t.Run(tc.file+" "+tc.data[:min(len(tc.data), 30)], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			v := vault.Open(dir, vault.Options{NoKeyring: true})
			store(t, v, "claude", token)
			if err := os.WriteFile(filepath.Join(dir, tc.file), []byte(tc.data), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := v.Load(t.Context(), "claude")
			if err == nil || strings.Contains(err.Error(), "MUST-NOT-SHOW") || strings.Contains(err.Error(), "must-not-show") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPassphraseProtectsTheKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	with := func(pass string) *vault.Vault {
		return vault.OpenCheap(dir, vault.Options{NoKeyring: true, Passphrase: func() (secret.Value, error) { return secret.New(pass), nil }})
	}
	store(t, with("right"), "claude", token)
	wantLoad(t, with("right"), "claude", token)
	if _, err := with("wrong").Load(t.Context(), "claude"); err == nil || !strings.Contains(err.Error(), "wrong passphrase") {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := vault.Open(dir, vault.Options{NoKeyring: true}).Load(t.Context(), "claude"); err == nil || !strings.Contains(err.Error(), "protected by a passphrase") {
		t.Errorf("no passphrase: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "identity.txt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key lies open: %v", err)
	}
}

func TestLoginsAtOnceAreAllKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var want []string
	var wg sync.WaitGroup
	for _, login := range []string{"a", "b", "c", "d", "e", "f"} {
		want = append(want, login)
		wg.Go(func() {
			if err := vault.Open(dir, vault.Options{NoKeyring: true}).Store(t.Context(), login, secret.New("token of "+login)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	v := vault.Open(dir, vault.Options{NoKeyring: true})
	wantLogins(t, v, want...)
	for _, login := range want {
		wantLoad(t, v, login, "token of "+login)
	}
}

// The library's own mock replaces the keyring of the whole process, so this test is not parallel.
func TestKeyring(t *testing.T) {
	dir := t.TempDir()
	bus := filepath.Join(dir, "bus")
	l, err := net.Listen("unix", bus)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := vault.Options{Bus: "tcp:host=x;unix:path=" + bus + ",guid=0"}
	v := vault.Open(filepath.Join(dir, "vault"), o)

	keyring.MockInit()
	store(t, v, "claude", token)
	wantLogins(t, v, "claude")
	wantLoad(t, v, "claude", token)
	if _, err := os.Stat(filepath.Join(dir, "vault", "claude.age")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was written too: %v", err)
	}
	if _, err := vault.Open(filepath.Join(dir, "vault"), vault.Options{}).Load(t.Context(), "claude"); err == nil || !strings.Contains(err.Error(), "can't be reached") {
		t.Errorf("without a bus: %v", err)
	}

	keyring.MockInitWithError(errors.New("no secret service"))
	store(t, v, "codex", "in a file")
	wantLoad(t, v, "codex", "in a file")

	keyring.MockInit()
	store(t, v, "codex", "in the keyring now")
	if _, err := os.Stat(filepath.Join(dir, "vault", "codex.age")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of the old token is still there: %v", err)
	}
	if err := v.Delete(t.Context(), "codex"); err != nil {
		t.Error(err)
	}
	wantLogins(t, v, "claude")
	if _, err := v.Load(t.Context(), "claude"); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("an entry the keyring lost: %v", err)
	}
}
