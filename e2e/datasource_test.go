package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// userData is what the servers of this test give to a machine.
const userData = "#cloud-config\nwrite_files:\n  - path: /opt/cargo\n    content: from the network\n"

// A machine takes its configuration from a server, and boots without it.
func TestDataSources(t *testing.T) {
	t.Run("EC2 metadata with a token", func(t *testing.T) {
		t.Parallel()
		key := newKey(t)
		options := netBoot(t, "rancher.cloud_init.datasources=[ec2:"+serve(t, ec2(key.Authorized))+"]")
		checkConfigured(t, boot(t, options, key), "cloud-ship")
	})
	t.Run("NoCloud server named by the firmware", func(t *testing.T) {
		t.Parallel()
		key := newKey(t)
		options := qemutest.Options{
			ISO:  artifact(t, isoName),
			Args: []string{"-smbios", "type=1,serial=ds=nocloud;s=" + serve(t, noCloud(key.Authorized)) + "/seed/"},
		}
		checkConfigured(t, boot(t, options, key), "cloud-ship")
	})
	t.Run("a silent server", func(t *testing.T) {
		t.Parallel()
		seed, err := newSeed(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		options := netBoot(t, "rancher.cloud_init.datasources=[ec2:"+silent(t)+",configdrive]")
		g := start(t, options, seed)
		if got := g.sh(t, "hostname"); got != "ship" {
			t.Errorf("hostname = %q; want ship, from the configuration disk", got)
		}
		const limit = 10 // seconds
		if took := g.bootStep(t, "cloud-init/network"); took > limit {
			t.Errorf("the boot waited %.1f s for a server that is silent; want at most %d", took, limit)
		}
	})
}

func checkConfigured(t *testing.T, g *guest, hostname string) {
	t.Helper()
	if got := g.sh(t, "hostname"); got != hostname {
		t.Errorf("hostname = %q; want %s, from the metadata", got, hostname)
	}
	if got := g.sh(t, "cat /opt/cargo"); got != "from the network" {
		t.Errorf("file of the user data holds %q", got)
	}
}

// netBoot starts the kernel with more on its command line, as PXE would.
func netBoot(t *testing.T, parameters string) qemutest.Options {
	return qemutest.Options{
		Medium: qemutest.Kernel, Kernel: artifact(t, "vmlinuz"), Initrd: artifact(t, "initrd"),
		Append: "console=tty0 console=ttyS0 " + parameters,
	}
}

func newKey(t *testing.T) qemutest.Key {
	t.Helper()
	key, err := qemutest.NewKey("e2e")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// serve starts a server and returns its URL as a machine sees it: QEMU's user
// network maps 10.0.2.2 to the build machine's loopback.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return fromGuest(server.Listener)
}

func fromGuest(l net.Listener) string {
	return fmt.Sprintf("http://10.0.2.2:%d", l.Addr().(*net.TCPAddr).Port)
}

// silent is the URL of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return fromGuest(l)
}

// ec2 is the instance metadata service, version 2, of an instance with a key.
// Source: AWS, "Use IMDSv2" and "Instance metadata categories".
func ec2(key string) http.Handler {
	const token = "AQAEAKs-e2e"
	tree := map[string]string{
		"meta-data/instance-id":                 "i-0e2e",
		"meta-data/local-hostname":              "cloud-ship",
		"meta-data/hostname":                    "cloud-ship",
		"meta-data/public-keys/":                "0=e2e",
		"meta-data/public-keys/0/openssh-key":   key,
		"meta-data/placement/availability-zone": "eu-e2e-1a",
		"user-data":                             userData,
		"dynamic/instance-identity/document":    "{}",
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, token) })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token") != token {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // without the API version
		text, ok := tree[path]
		if !ok {
			text, ok = tree[path+"/"]
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	})
	return mux
}

// noCloud serves a seed of cloud-init's NoCloud source.
func noCloud(key string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /seed/user-data", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, userData) })
	mux.HandleFunc("GET /seed/meta-data", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "instance-id: i-0e2e\nlocal-hostname: cloud-ship\npublic-keys:\n  - %s\n", key)
	})
	return mux
}

// bootStep returns how long a step of the boot took, in seconds.
func (g *guest) bootStep(t *testing.T, name string) float64 {
	t.Helper()
	var report struct {
		Steps []struct {
			Name       string
			Start, End float64
		}
	}
	if err := json.Unmarshal([]byte(g.sh(t, "cat /run/bulkhead/boot.json")), &report); err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Steps {
		if s.Name == name {
			return s.End - s.Start
		}
	}
	t.Fatalf("no step %s in the boot report", name)
	return 0
}
