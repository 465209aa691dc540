package release

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/work"
)

// folder makes a release of small files.
func folder(t *testing.T) (string, Manifest, []byte) {
	t.Helper()
	dir := t.TempDir()
	for _, path := range Needed() {
		write(t, filepath.Join(dir, path), strings.Repeat(path, 1000))
	}
	m, err := Manifest{Version: "v1.2.3", Serial: 7, Arch: "amd64", KernelLine: "quiet"}.Describe(func(path string) string { return filepath.Join(dir, path) })
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, layout.ReleaseFile), string(text))
	return dir, m, text
}

func write(t *testing.T, name, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestParse(t *testing.T) {
	_, m, text := folder(t)
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Error(diff)
	}
	root, err := got.File(layout.RootImage)
	if err != nil || len(root.Verity) != 64 {
		t.Errorf("root image %+v, %v", root, err)
	}
	for name, change := range map[string][2]string{
		"later format":    {`"format": 1`, `"format": 2`},
		"file missing":    {`"boot/vmlinuz"`, `"boot/other"`},
		"out of a folder": {`"boot/vmlinuz"`, `"../vmlinuz"`},
		"no digest":       {`"sha256": "`, `"sha256": "x`},
		"no JSON":         {`{`, `[`},
	} {
		if _, err := Parse([]byte(strings.Replace(string(text), change[0], change[1], 1))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Parse([]byte(strings.Replace(string(text), `{`, `{"of later": 1,`, 1))); err != nil {
		t.Errorf("a key of a later version: %v", err)
	}
}

func TestSuits(t *testing.T) {
	running := Manifest{Version: "v1", Serial: 7, Arch: "amd64"}
	for _, c := range []struct {
		name string
		m    Manifest
		want error
	}{
		{"newer", Manifest{Serial: 8, Arch: "amd64"}, nil},
		{"the same", running, nil},
		{"older", Manifest{Serial: 6, Arch: "amd64"}, ErrOlder},
		{"other processor", Manifest{Serial: 8, Arch: "arm64"}, ErrArch},
	} {
		if err := c.m.Suits(running); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", c.name, err, c.want)
		}
	}
}

func key(t *testing.T) (minisign.PublicKey, minisign.PrivateKey) {
	t.Helper()
	public, secret, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, secret
}

func TestSignature(t *testing.T) {
	_, m, text := folder(t)
	public, secret := key(t)
	next, nextSecret := key(t)
	_, stranger := key(t)
	// As a file of two keys has them.
	line, err := public.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys([]byte(string(line) + "\n# the next one\n" + next.String() + "\n"))
	if err != nil || len(keys) != 2 {
		t.Fatal(keys, err)
	}
	signature := Sign(m, text, secret)
	if diff := cmp.Diff(signature, Sign(m, text, secret)); diff != "" {
		t.Errorf("two signatures of one text differ: %s", diff)
	}
	for _, c := range []struct {
		name            string
		keys            Keys
		text, signature []byte
		want            error
	}{
		{"signed", keys, text, signature, nil},
		{"signed with the second key", keys, text, Sign(m, text, nextSecret), nil},
		{"unsigned", keys, text, nil, ErrUnsigned},
		{"of a stranger", keys, text, Sign(m, text, stranger), ErrUnsigned},
		{"no keys", nil, text, signature, ErrUnsigned},
		{"changed", keys, append([]byte(" "), text...), signature, ErrTampered},
		{"changed comment", keys, text, []byte(strings.Replace(string(signature), "serial:7", "serial:9", 1)), ErrTampered},
		{"no signature at all", keys, text, []byte("hello"), ErrTampered},
	} {
		if err := c.keys.Check(c.text, c.signature); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v; want %v", c.name, err, c.want)
		}
	}
	if _, err := ParseKeys([]byte("RWQ none")); err == nil {
		t.Error("a key that is none is no error")
	}
}

func TestPrivateKey(t *testing.T) {
	_, secret := key(t)
	text, err := secret.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := PrivateKey(append(text, '\n')); err != nil || !got.Equal(secret) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := PrivateKey([]byte("none")); err == nil {
		t.Error("no error")
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		ok     bool
	}{
		{"whole", func(*testing.T, string) {}, true},
		{"truncated", func(t *testing.T, dir string) { write(t, filepath.Join(dir, layout.RootImage), "short") }, false},
		{"damaged", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, layout.RootImage), strings.Repeat("Bulkhead/root.erofs", 1000))
		}, false},
		{"missing", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, layout.KernelFile)); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		dir, _, _ := folder(t)
		c.damage(t, dir)
		web, err := NewWeb(serve(t, http.FileServer(http.Dir(dir))))
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range []Source{Folder(dir), web} {
			r, err := Look(t.Context(), source)
			if err != nil {
				t.Fatal(err)
			}
			meter := &work.Meter{Report: func(work.Progress) {}}
			// Of a download only the size is known before it is written.
			ok := c.ok || c.name == "damaged" && source == Source(web)
			if err := r.Check(t.Context(), meter); (err == nil) != ok {
				t.Errorf("%s, %T: %v", c.name, source, err)
			}
		}
	}
	if _, err := Look(t.Context(), Folder(t.TempDir())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// TestDownload reads a file from servers that are not at their best.
func TestDownload(t *testing.T) {
	dir, _, _ := folder(t)
	want, err := os.ReadFile(filepath.Join(dir, layout.RootImage))
	if err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(dir))
	broken := 0
	for name, h := range map[string]http.Handler{
		"sound": files,
		"no ranges": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			files.ServeHTTP(w, r)
		}),
		"breaks": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken++; broken > 1 {
				files.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(want)))
			_, _ = w.Write(want[:10])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}),
	} {
		for _, offset := range []int64{0, 7} {
			// With the address of the manifest, too.
			web, err := NewWeb(serve(t, h) + "/" + layout.ReleaseFile)
			if err != nil {
				t.Fatal(err)
			}
			f, _, err := web.Open(t.Context(), layout.RootImage, offset)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if err != nil || string(got) != string(want[offset:]) {
				t.Errorf("%s from %d: %d of %d bytes, %v", name, offset, len(got), len(want), err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, address := range []string{"ftp://h/x", "folder", "https://h/x.iso"} {
		if _, err := NewWeb(address); err == nil {
			t.Errorf("%s is taken", address)
		}
	}
	web, err := NewWeb(serve(t, http.NotFoundHandler()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Look(t.Context(), web); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}
