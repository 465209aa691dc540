package e2e

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// A mistake is one of os-config/testdata/broken.
type mistake struct {
	name string
	// parameter says the same on the kernel command line.
	parameter string
}

// Thirty of the corpus, ten for each way in which a configuration arrives. Each
// of them is told in one line, since the consoles show ten.
var (
	mistakesOnKernelLine = []mistake{
		{"ssh-port-big", "rancher.ssh.port=65536"},
		{"ssh-address", "rancher.ssh.listen_address=eth0"},
		{"hostname-long", "cc.hostname=" + strings.Repeat("a", 65)},
		{"unknown-rancher", "rancher.servces.web.image=nginx"},
		{"unknown-top", "cc.hostnme=web1"},
		{"timezone", "cc.timezone=Europe/../../etc/shadow"},
		{"shutdown-timeout", "rancher.shutdown_timeout=1"},
		{"disable", "rancher.disable=[passwords]"},
		{"ssh-pwauth", "cc.ssh_pwauth=perhaps"},
		{"type-ssh", "rancher.ssh=true"},
	}
	mistakesOnDisk = []mistake{
		{name: "syntax-tab"}, {name: "syntax-bracket"}, {name: "syntax-two-colons"}, {name: "unknown-hyphen"},
		{name: "unknown-utf8"}, {name: "type-keys-text"}, {name: "type-rancher-text"}, {name: "file-base64"},
		{name: "address-no-prefix"}, {name: "instead-user"},
	}
	mistakesAtRunTime = []mistake{
		{name: "syntax-indent"}, {name: "syntax-latin1"}, {name: "syntax-quote"}, {name: "top-list"},
		{name: "type-hostname-map"}, {name: "unknown-missing-blank"}, {name: "unknown-ssh"}, {name: "mount-options"},
		{name: "type-runcmd-text"}, {name: "disk-layout-sum"},
	}
)

// provoked are console lines that configurations with mistakes lead to.
var provoked = regexp.MustCompile(`bulkhead: FAILED step=(console|cloud-init)/`)

const corpus = "../os-config/testdata/broken/"

// text returns the configuration with the mistake.
func (m mistake) text(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(corpus + m.name + ".yml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// told returns the line that names the mistake when it comes from a file, or
// from the kernel command line.
func (m mistake) told(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(corpus + m.name + ".want")
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(text))
	if strings.Contains(line, "\n") {
		t.Fatalf("%s is told in more than one line", m.name)
	}
	if m.parameter != "" {
		_, line, _ = strings.Cut(line, ": ")
		return "kernel command line: " + line
	}
	return file + ":" + line
}

// The places of files with mistakes, by their number from 0.
func onDisk(n, of int) string {
	if n == of-1 {
		return "/var/lib/rancher/conf/cloud-config.d/boot.yml"
	}
	return fmt.Sprintf("/var/lib/rancher/conf/cloud-config.d/boot-20-part-%02d.yml", n+2)
}

func atRunTime(n, _ int) string {
	return fmt.Sprintf("/var/lib/rancher/conf/cloud-config.d/10-mistake-%02d.yml", n)
}

// checkNamed checks that the machine, which could be logged in to, names each
// mistake wherever one looks. file gives the files that they are in.
func (g *guest) checkNamed(t *testing.T, mistakes []mistake, file func(n, of int) string) {
	t.Helper()
	validate := g.try(t, "sudo ros config validate --machine")
	if validate.Exit != 1 {
		t.Errorf("ros config validate --machine: exit code %d; want 1", validate.Exit)
	}
	places := []struct{ name, text string }{
		{"consoles", strings.Join(g.Console.Since(g.start), "\n")},
		{"ros config validate", validate.Stdout + validate.Stderr},
		{"login", g.sh(t, "script -qec 'bash -lc true' /dev/null")},
		{"log", g.root(t, "system-docker logs cloud-init 2>&1; cat /var/log/messages")},
	}
	for n, m := range mistakes {
		from := ""
		if file != nil {
			from = file(n, len(mistakes))
		}
		told := m.told(t, from)
		for _, place := range places {
			want := told
			if place.name == "log" { // which has it in quotation marks
				want = strings.ReplaceAll(told, `"`, `\"`)
			}
			if !strings.Contains(place.text, want) {
				t.Errorf("%s: the %s does not say\n%s", m.name, place.name, want)
			}
		}
	}
	if t.Failed() {
		for _, place := range places {
			t.Logf("%s:\n%s", place.name, place.text)
		}
	}
}

// kernelLine is what the mistakes are on the kernel command line.
func kernelLine(mistakes []mistake) string {
	var parameters []string
	for _, m := range mistakes {
		parameters = append(parameters, m.parameter)
	}
	return strings.Join(parameters, " ")
}

// brokenSeed makes a configuration disk whose user data has several parts: one
// with a key, and those with mistakes.
func brokenSeed(t *testing.T, mistakes []mistake) seedDisk {
	t.Helper()
	key := newKey(t)
	parts := [][]byte{[]byte("#cloud-config\nssh_authorized_keys:\n  - " + key.Authorized + "\n")}
	for _, m := range mistakes {
		parts = append(parts, m.text(t))
	}
	var message bytes.Buffer
	w := multipart.NewWriter(&message)
	fmt.Fprintf(&message, "Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n\n", w.Boundary())
	for _, text := range parts {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/cloud-config"}})
		if err == nil {
			_, err = part.Write(text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "seed.img")
	seed := qemutest.Seed{Kind: qemutest.Config2, Format: qemutest.ISO9660, UserData: message.String()}
	if err := seed.Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	return seedDisk{disk: qemutest.Disk{Path: path, ReadOnly: true}, key: key}
}

// leaveMistakes writes files with mistakes beside the configuration's others.
func (g *guest) leaveMistakes(t *testing.T, mistakes []mistake) {
	t.Helper()
	for n, m := range mistakes {
		if r := g.pipe(t, "sudo tee "+atRunTime(n, len(mistakes)), bytes.NewReader(m.text(t))); r.Exit != 0 {
			t.Fatal(r.Stderr)
		}
	}
	g.sh(t, "sync")
}

// Each mistake has a boot of its own; the other tests have ten in one.
func TestEachMistakeAlone(t *testing.T) {
	forRelease(t, "it boots a machine for each mistake")
	t.Parallel()
	iso := artifact(t, isoName)
	for _, m := range mistakesOnKernelLine {
		t.Run("kernel line/"+m.name, func(t *testing.T) {
			seed, err := newSeed(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			g := start(t, netBoot(t, m.parameter), seed, provoked)
			g.checkNamed(t, []mistake{m}, nil)
		})
	}
	for _, m := range mistakesOnDisk {
		t.Run("disk/"+m.name, func(t *testing.T) {
			g := start(t, qemutest.Options{ISO: iso}, brokenSeed(t, []mistake{m}), provoked)
			g.checkNamed(t, []mistake{m}, onDisk)
		})
	}
	seed, err := newSeed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, qemutest.Options{ISO: iso, Disks: []qemutest.Disk{{Path: stateDisk(t, nil)}}}, seed, provoked)
	for _, m := range mistakesAtRunTime {
		t.Run("run time/"+m.name, func(t *testing.T) {
			g.leaveMistakes(t, []mistake{m})
			if err := g.restart(t, func() { g.try(t, "sudo reboot") }); err != nil {
				t.Fatal(err)
			}
			g.checkNamed(t, []mistake{m}, atRunTime)
		})
	}
	t.Run("mended", func(t *testing.T) {
		g.root(t, "rm %s", atRunTime(0, 1))
		if err := g.restart(t, func() { g.try(t, "sudo reboot") }); err != nil {
			t.Fatal(err)
		}
		if r := g.try(t, "sudo ros config validate --machine && ! test -e /run/bulkhead/config-problems"); r.Exit != 0 {
			t.Errorf("mistakes are told still: %s%s", r.Stdout, r.Stderr)
		}
		g.awaitHealthy(t, time.Minute)
	})
}
