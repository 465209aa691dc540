package catalogues

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"aead.dev/minisign"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const web = "entries: {web: {description: a web server, services: {web: {image: 'nginx@sha256:" +
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'}}}}\n"

// A publisher signs catalogues.
type publisher struct {
	key     minisign.PrivateKey
	public  osconfig.SigningKey
	content map[string]string // by address
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	public, key, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{key: key, public: osconfig.SigningKey(public.String()), content: make(map[string]string)}
}

func (p *publisher) publish(text string) {
	p.content["https://a/c.yml"], p.content["https://a/c.yml.minisig"] = text, string(minisign.Sign(p.key, []byte(text)))
}

func (p *publisher) download(_ context.Context, address string) ([]byte, error) {
	if text, has := p.content[address]; has {
		return []byte(text), nil
	}
	return nil, errors.New("answer 404 Not Found")
}

func TestRefresh(t *testing.T) {
	p, other := newPublisher(t), newPublisher(t)
	store := Store(t.TempDir())
	repository := osconfig.Repository{URL: "https://a/c.yml", PublicKey: p.public}
	for _, tt := range []struct {
		name   string
		before func(r *osconfig.Repository)
		want   string // in the error
		serial uint64
	}{
		{"nothing there", func(*osconfig.Repository) {}, "answer 404", 0},
		{"signed", func(*osconfig.Repository) { p.publish("serial: 2\n" + web) }, "", 2},
		{"changed on the way", func(*osconfig.Repository) { p.content["https://a/c.yml"] += "# more\n" }, "is not signed with public_key", 2},
		{"of somebody else", func(*osconfig.Repository) { p.content = other.content; other.publish("serial: 9\n" + web) }, "is not signed with public_key", 2},
		{"older", func(*osconfig.Repository) { p.publish("serial: 1\n" + web) }, "older than the stored catalogue (serial 1 < 2)", 2},
		{"not pinned", func(*osconfig.Repository) {
			p.publish("serial: 3\nentries: {x: {services: {x: {image: 'nginx:1'}}}}\n")
		}, `x: service x: image "nginx:1" is not pinned`, 2},
		{"unknown key", func(*osconfig.Repository) { p.publish("serial: 3\nservices: {}\n") }, "services", 2},
		{"newer", func(*osconfig.Repository) { p.publish("serial: 3\n" + web) }, "", 3},
		{"without a key", func(r *osconfig.Repository) { r.PublicKey = "" }, "rancher.repositories.core: expected url and public_key", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := repository
			tt.before(&r)
			_, err := store.Refresh(t.Context(), "core", r, p.download)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Refresh: %v; want %q", err, tt.want)
			}
			have, err := store.Get("core", repository)
			if tt.serial == 0 && !errors.Is(err, fs.ErrNotExist) || tt.serial > 0 && err != nil || have.Serial != tt.serial {
				t.Errorf("kept: serial %d, %v; want %d", have.Serial, err, tt.serial)
			}
		})
	}
	text, err := store.Find("web", map[string]osconfig.Repository{"core": repository, "gone": repository})
	if err != nil || !strings.HasPrefix(string(text), "web: ") {
		t.Errorf("Find: %s, %v", text, err)
	}
	if _, err := store.Find("none", map[string]osconfig.Repository{"core": repository}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Find of what is not there: %v", err)
	}

	// What somebody has changed on the disk is not run.
	kept, err := os.ReadFile(store.file("core"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(store.file("core"), []byte(strings.Replace(string(kept), "a web server", "a wet server", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Find("web", map[string]osconfig.Repository{"core": repository}); err == nil || !strings.Contains(err.Error(), "catalogue core: it is not signed") {
		t.Errorf("Find in a changed file: %v", err)
	}
}

// A repository's name is no way out of the folder.
func TestStoreFile(t *testing.T) {
	if got := Store("/s").file("../../etc/x"); got != "/s/..%2F..%2Fetc%2Fx.json" {
		t.Error(got)
	}
}
