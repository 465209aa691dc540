package conffile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Of many writers none loses what another wrote, and a reader sees a whole
// file at any moment.
func TestUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf", "cloud-config.yml")
	var writers sync.WaitGroup
	for i := range 20 {
		writers.Go(func() {
			err := Update(t.Context(), path, func(old []byte) ([]byte, error) {
				return fmt.Appendf(bytes.Clone(old), "key%d: a\n", i), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if text, err := os.ReadFile(path); err == nil && (len(text) == 0 || text[len(text)-1] != '\n') {
			t.Fatalf("half a file: %q", text)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.Count(text, []byte("\n")) != 20 {
		t.Errorf("file = %q, %v; want 20 lines", text, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
	}
}

func TestUpdateRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloud-config.yml")
	if err := Write(path, []byte("old\n")); err != nil {
		t.Fatal(err)
	}
	wrong := errors.New("wrong")
	if err := Update(t.Context(), path, func([]byte) ([]byte, error) { return []byte("new\n"), wrong }); !errors.Is(err, wrong) {
		t.Errorf("error = %v; want %v", err, wrong)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "old\n" {
		t.Errorf("file = %q, %v; want the old one", text, err)
	}
}

func TestLockIsBounded(t *testing.T) {
	dir := t.TempDir()
	unlock, err := Lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Lock(ctx, dir); err == nil {
		t.Error("a second writer got the lock")
	}
	unlock()
	if unlock, err = Lock(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// What was good once applies when the file is damaged, and no longer.
func TestRememberGood(t *testing.T) {
	root := t.TempDir()
	own, user := filepath.Join(root, layout.CloudConfig), filepath.Join(root, layout.UserData)
	write := func(path, text string) {
		t.Helper()
		if err := Write(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	load := func() (osconfig.Config, string) {
		t.Helper()
		cfg, problems, err := osconfig.Load(root, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := RememberGood(root); err != nil {
			t.Fatal(err)
		}
		return cfg, fmt.Sprint(problems)
	}
	write(own, "hostname: own\n")
	write(user, "hostname: user\nfqdn: user.example.org\n")
	load()

	write(own, "hostname: [\n")
	for range 2 { // the damaged file must not become the good one
		cfg, problems := load()
		if cfg.Hostname != "own" || cfg.FQDN != "user.example.org" {
			t.Errorf("host name %s, FQDN %s; want the last good ones", cfg.Hostname, cfg.FQDN)
		}
		for _, want := range []string{layout.CloudConfig + ":2: invalid YAML, file ignored", "its last good copy applies: " + layout.LastGoodDir} {
			if !strings.Contains(problems, want) {
				t.Errorf("problems = %s; want %q", problems, want)
			}
		}
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if cfg, problems := load(); cfg.Hostname != "own" || !strings.Contains(problems, "cannot be read") {
		t.Errorf("host name %s, problems %s; want the last good ones", cfg.Hostname, problems)
	}

	for _, path := range []string{own, user} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if cfg, problems := load(); cfg.Hostname != "" || problems != "[]" {
		t.Errorf("host name %s, problems %s; want none without files", cfg.Hostname, problems)
	}
	if _, err := os.Stat(filepath.Join(root, osconfig.GoodCopy(layout.UserData))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy of a file that is gone: %v; want none", err)
	}
}
