package e2e

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aead.dev/minisign"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/release"
)

// A publisher makes releases out of the ISO that is tested, and serves them.
type publisher struct {
	secret minisign.PrivateKey
	public minisign.PublicKey
	// system has the files of the ISO, and web the releases.
	system, web string
	base        release.Manifest
	// breaks: the next answer with a root image breaks off.
	breaks atomic.Bool
	url    string
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	qemutest.Need(t, "xorriso")
	p := &publisher{system: filepath.Join(t.TempDir(), "system"), web: t.TempDir()}
	out, err := exec.Command("xorriso", "-osirrox", "on", "-indev", artifact(t, isoName), "-extract", "/", p.system).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	look, err := release.Look(t.Context(), release.Folder(p.system))
	if err != nil {
		t.Fatal(err)
	}
	p.base = look.Manifest
	if p.public, p.secret, err = minisign.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(p.web))
	p.url = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, layout.RootImage) && r.Header.Get("Range") == "" && p.breaks.CompareAndSwap(true, false) {
			w = &brokenAnswer{ResponseWriter: w, left: 20 << 20}
		}
		files.ServeHTTP(w, r)
	}))
	return p
}

// A brokenAnswer breaks off after some bytes.
type brokenAnswer struct {
	http.ResponseWriter
	left int
}

func (w *brokenAnswer) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(b)
}

// A published release differs from the ISO's in this.
type published struct {
	version string
	// newer is added to the serial.
	newer int64
	arch  string
	// kernelLine is added to it, and files are replaced.
	kernelLine string
	files      map[string]func(old []byte) []byte
	// sign is what becomes of manifest and signature.
	sign func(text, signature []byte) ([]byte, []byte)
}

// publish makes a release, and returns its address.
func (p *publisher) publish(t *testing.T, r published) string {
	t.Helper()
	dir := filepath.Join(p.web, r.version)
	write := func(path string, data []byte) {
		name := filepath.Join(dir, path)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range release.Needed() {
		old, err := os.ReadFile(filepath.Join(p.system, path))
		if err != nil {
			t.Fatal(err)
		}
		if path == layout.SlotConfig {
			old = []byte(strings.NewReplacer(p.base.Version, r.version, "$args", r.kernelLine+" $args").Replace(string(old)))
		}
		if change := r.files[path]; change != nil {
			old = change(old)
		}
		write(path, old)
	}
	m := p.base
	m.Version, m.Serial = r.version, m.Serial+r.newer
	if r.arch != "" {
		m.Arch = r.arch
	}
	m, err := m.Describe(func(path string) string { return filepath.Join(dir, path) })
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	signature := release.Sign(m, text, p.secret)
	if r.sign != nil {
		text, signature = r.sign(text, signature)
	}
	write(layout.ReleaseFile, text)
	write(layout.ReleaseSignature, signature)
	return p.url + "/" + r.version + "/"
}

// TestUpgrade upgrades an installed machine, and has it come back from releases
// that do not work.
func TestUpgrade(t *testing.T) {
	forRelease(t, "an installation and each upgrade take as long as nine boots")
	t.Parallel()
	p := newPublisher(t)
	disk := qemutest.Disk{Path: filepath.Join(t.TempDir(), "disk.img")}
	if err := qemutest.MakeDisk(disk.Path, installMB); err != nil {
		t.Fatal(err)
	}
	seed, err := newSeed(t.TempDir(), fmt.Sprintf(`rancher:
  install: {device: auto, reboot: false}
  upgrade: {keys: [%s], settle: 5s, timeout: %d}
`, p.public, int(qemutest.Scaled(time.Minute).Seconds())))
	if err != nil {
		t.Fatal(err)
	}
	installUnattended(t, seed.in(qemutest.Options{ISO: artifact(t, isoName), Disks: []qemutest.Disk{disk}, DiskFirst: true})).Kill()
	g := boot(t, qemutest.Options{Medium: qemutest.HardDisk, Disks: []qemutest.Disk{disk}}, seed.key)
	g.awaitHealthy(t, 60*time.Second)

	t.Run("refused", func(t *testing.T) { checkRefusals(t, g, p) })

	g.needImage(t)
	g.sh(t, "docker volume create cargo && docker run --rm -v cargo:/cargo %s sh -c 'echo tea > /cargo/chest'", image)
	for i := range times(3, 10) {
		g.sh(t, "docker run -d --restart always --name runs%d -v cargo:/cargo %s sleep 100000", i, image)
	}
	g.sh(t, "docker run -d --name once %s sleep 100000", image) // nobody expects it after a boot
	g.sh(t, "echo mine > ~/note")
	check := func(t *testing.T, slot string) {
		t.Helper()
		for command, want := range map[string]string{
			"cat /proc/cmdline | grep -o 'bulkhead.slot=.'":                  "bulkhead.slot=" + slot,
			"docker ps -q --filter name=runs | wc -l":                        fmt.Sprint(times(3, 10)),
			"docker exec runs0 cat /cargo/chest":                             "tea",
			"cat ~/note":                                                     "mine",
			"sudo ros os list --json | jq -r '.[] | select(.good).slot'":     slot,
			"sudo ros os list --json | jq '[.[] | select(.trial)] | length'": "0",
		} {
			if got := g.sh(t, "%s", command); strings.TrimSpace(got) != want {
				t.Errorf("%s: %s; want %s", command, got, want)
			}
		}
	}

	good := p.publish(t, published{version: "v8.0.0", newer: 10})
	t.Run("upgrade", func(t *testing.T) {
		p.breaks.Store(true)
		mark, err := g.reset(t, func() { g.startUpgrade(t, "--from "+good) })
		if err != nil {
			t.Fatal(err)
		}
		if p.breaks.Load() {
			t.Error("the download was not broken off")
		}
		if _, err := g.AwaitConsole("verdict", 3*bootDeadline, mark, regexp.MustCompile(`bulkhead: upgrade: \S+ in slot b is good`)); err != nil {
			t.Fatal(err)
		}
		if err := g.awaitReady(mark); err != nil {
			t.Fatal(err)
		}
		check(t, "b")
		if got := g.history(t); !strings.HasSuffix(got, "good") {
			t.Errorf("history: %s", got)
		}
		g.sh(t, "sudo ros os verify")
	})
	if t.Failed() {
		return
	}

	t.Run("from an ISO", func(t *testing.T) {
		if err := os.Symlink(artifact(t, isoName), filepath.Join(p.web, isoName)); err != nil {
			t.Fatal(err)
		}
		g.sh(t, "curl -sfo ~/os.iso %s/%s", p.url, isoName)
		command := "sudo ros os upgrade --yes --json --allow-unsigned --from ~/os.iso"
		if r := g.try(t, command); r.Exit != 1 || !strings.Contains(r.Stderr, "say --allow-downgrade") {
			t.Errorf("%s: exit code %d, %s", command, r.Exit, r.Stderr)
		}
		got := g.sh(t, "%s --allow-downgrade %s | jq -c '[.from, .version, .slot, .signed, .trial]'", command, times("--dry-run", "--stage"))
		if want := fmt.Sprintf(`["v8.0.0","%s","a",false,null]`, p.base.Version); got != want {
			t.Errorf("%s: %s; want %s", command, got, want)
		}
	})

	cut := func(old []byte) []byte { return old[:len(old)/2] }
	flip := func(old []byte) []byte {
		old[len(old)/2] ^= 1
		return old
	}
	broken := []struct {
		name  string
		r     published
		cause string
	}{
		{"corrupted root image", published{version: "v9.0.1", newer: 21, files: map[string]func([]byte) []byte{layout.RootImage: flip}}, `image: the root image is damaged`},
		{"panic", published{version: "v9.0.2", newer: 22, files: map[string]func([]byte) []byte{layout.InitramfsFile: cut}}, `the system in slot a did not come up`},
		{"a driver is missing", published{version: "v9.0.0", newer: 20, kernelLine: "module_blacklist=bridge"}, `after \S+: .*service docker`},
	}
	for _, b := range broken[:times(1, len(broken))] {
		t.Run(b.name, func(t *testing.T) {
			from := p.publish(t, b.r)
			defer g.Tolerate(regexp.MustCompile(`.`))() // it is broken
			mark, err := g.reset(t, func() { g.startUpgrade(t, "--from "+from) })
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.AwaitConsole("return", 5*bootDeadline, mark, regexp.MustCompile(`bulkhead: upgrade: failed, the previous system runs: `+b.cause)); err != nil {
				t.Fatal(err)
			}
			if err := g.login(); err != nil {
				t.Fatal(err)
			}
			g.eventually(t, "user Docker answers", bootDeadline, g.succeeds("docker info"))
			check(t, "b")
			if got := g.history(t); !regexp.MustCompile(`failed: ` + b.cause).MatchString(got) {
				t.Errorf("history: %s", got)
			}
			if got := g.sh(t, "cat /run/bulkhead/upgrade-failed"); !regexp.MustCompile(b.cause).MatchString(got) {
				t.Errorf("at login: %s", got)
			}
		})
	}
}

// startUpgrade starts an upgrade that ends with a reboot.
func (g *guest) startUpgrade(t *testing.T, args string) {
	t.Helper()
	ctx := t.Context()
	r, err := g.client.Run(ctx, "sudo ros os upgrade --yes "+args, nil)
	if err == nil && r.Exit > 0 {
		t.Fatalf("ros os upgrade %s: exit code %d\n%s%s", args, r.Exit, r.Stdout, r.Stderr)
	}
}

// history is the last line of the machine's history.
func (g *guest) history(t *testing.T) string {
	t.Helper()
	return g.sh(t, "sudo ros os history | tail -n 1")
}

// checkRefusals looks at releases that are refused before anything is written.
func checkRefusals(t *testing.T, g *guest, p *publisher) {
	none := func(text, _ []byte) ([]byte, []byte) { return text, nil }
	for _, c := range []struct {
		name string
		r    published
		says string
	}{
		{"unsigned", published{version: "v2.0.0", newer: 1, sign: none}, "it has no signature; name the key in rancher.upgrade.keys, or say --allow-unsigned"},
		{"of a stranger", published{version: "v2.0.1", newer: 1, sign: func(text, _ []byte) ([]byte, []byte) {
			_, key, err := minisign.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return text, minisign.Sign(key, text)
		}}, "no key that this machine knows has signed it"},
		{"tampered", published{version: "v2.0.2", newer: 1, sign: func(text, signature []byte) ([]byte, []byte) {
			return []byte(strings.Replace(string(text), "quiet", "quiet init=/bin/sh", 1)), signature
		}}, "it is not as it was signed"},
		{"older", published{version: "v0.0.1", newer: -1}, "it is older than the system that runs"},
		{"other processor", published{version: "v2.0.3", newer: 1, arch: "arm64"}, "it is for another kind of processor: arm64"},
		{"truncated", published{version: "v2.0.4", newer: 1, sign: func(text, signature []byte) ([]byte, []byte) {
			if err := os.Truncate(filepath.Join(p.web, "v2.0.4", layout.RootImage), 1<<20); err != nil {
				t.Fatal(err)
			}
			return text, signature
		}}, "bulkhead/root.erofs has 1048576 bytes, and the release says"},
	} {
		from := p.publish(t, c.r)
		r := g.try(t, "sudo ros os upgrade --yes --from "+from)
		if r.Exit != 1 || !strings.Contains(r.Stderr, c.says) {
			t.Errorf("%s: exit code %d, %s; want %q", c.name, r.Exit, r.Stderr, c.says)
		}
		if list := g.sh(t, "sudo ros os list --json | jq -r '.[1] | .problem, .trial'"); list != "it is empty\nfalse" {
			t.Errorf("%s: slot b: %s", c.name, list)
		}
		if err := os.RemoveAll(filepath.Join(p.web, c.r.version)); err != nil {
			t.Fatal(err)
		}
	}
	if r := g.try(t, "sudo ros os upgrade --yes"); r.Exit != 2 || !strings.Contains(r.Stderr, "say where the release is") {
		t.Errorf("from nowhere: exit code %d, %s", r.Exit, r.Stderr)
	}
}
