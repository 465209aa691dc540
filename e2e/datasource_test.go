package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// ship is the machine that the servers of this test know.
func ship(key qemutest.Key) instance {
	return instance{name: "cloud-ship", keys: []string{key.Authorized}, userData: cargo("from the network")}
}

// A machine takes its configuration from a server, and boots without it.
func TestDataSources(t *testing.T) {
	t.Run("EC2 metadata with a token", func(t *testing.T) {
		t.Parallel()
		key := newKey(t)
		// Neither a state disk that is not there nor mistakes matter to it.
		options := netBoot(t, "rancher.cloud_init.datasources=[ec2:"+serve(t, ec2(ship(key)))+"] "+
			"rancher.state.dev=LABEL=nonexistent "+kernelLine(mistakesOnKernelLine))
		// Nor does a clock without a battery, and a hypervisor's console has a prompt.
		options.Args = append(options.Args, "-rtc", "base=2000-01-01T00:00:00",
			"-chardev", "null,id=hvc", "-device", "virtconsole,chardev=hvc")
		g := boot(t, options, key, provoked, regexp.MustCompile("FAILED step=find-state .*LABEL=nonexistent"))
		checkConfigured(t, g, "cloud-ship")
		g.checkNamed(t, mistakesOnKernelLine, nil)
		if got := g.sh(t, "findmnt -no FSTYPE /var/lib/rancher; docker info -f '{{.DockerRootDir}}'"); got != "tmpfs\n/var/lib/docker" {
			t.Errorf("state is on %q; want a tmpfs", got)
		}
		if got := g.sh(t, "date +%%Y"); got < "2026" {
			t.Errorf("it is the year %s; want it no earlier than the build", got)
		}
		g.eventually(t, "a login prompt on hvc0", 30*time.Second, g.succeeds("pgrep -f '[a]getty .*hvc0'"))
		g.checkConfigCommand(t, key.Authorized)
	})
	if !testing.Short() {
		t.Run("NoCloud server named by the firmware", func(t *testing.T) {
			t.Parallel()
			key := newKey(t)
			options := qemutest.Options{
				ISO: artifact(t, isoName), UEFI: true,
				Args: []string{"-smbios", "type=1,serial=ds=nocloud;s=" + serve(t, noCloud(ship(key))) + "/seed/"},
			}
			g := boot(t, options, key)
			checkConfigured(t, g, "cloud-ship")
			g.checkClouds(t, clouds())
		})
	}
}

// checkSilent checks a machine that asks a silent server before its
// configuration disk, and has its state in sub/dir.
func (g *guest) checkSilent(t *testing.T) {
	if got := g.sh(t, "findmnt -no FSROOT /var/lib/rancher"); got != "/sub/dir/var/lib/rancher" {
		t.Errorf("state is in %s; want it in rancher.state.directory", got)
	}
	if got := g.sh(t, "hostname"); got != "ship" {
		t.Errorf("hostname = %q; want ship, from the configuration disk", got)
	}
	const limit = 10 // seconds
	if took := g.bootStep(t, "cloud-init/network"); took > limit {
		t.Errorf("the boot waited %.1f s for a server that is silent; want at most %d", took, limit)
	} else {
		t.Logf("the boot waited %.1f s for a server that is silent", took)
	}
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
