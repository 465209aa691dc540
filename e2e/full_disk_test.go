package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// A plain container writes until no block is left, and none of the OS's own work
// suffers: not on the next boot either. The machine's disk was blank.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blank.img")
	if err := qemutest.MakeDisk(path, 2<<10); err != nil {
		t.Fatal(err)
	}
	options := netBoot(t, "rancher.state.autoformat=[/dev/vda]")
	options.ISO, options.Disks = artifact(t, isoName), []qemutest.Disk{{Path: path}}
	seed, err := newSeed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, options, seed)
	if got := strings.Fields(g.sh(t, "lsblk -rno NAME,LABEL /dev/vda")); strings.Join(got, " ") != "vda vda1 RANCHER_STATE vda2 BULKHEAD_DATA" {
		t.Errorf("the blank disk became %q", got)
	}
	// A file that is open takes blocks when no inode is left.
	g.checkFullDisk(t, "exec 3>/fill; d=0; while mkdir /$d && (cd /$d && touch $(seq 2000)); do d=$((d+1)); done; cat /dev/zero >&3")
	if got := g.sh(t, "df --output=ipcent,pcent /var/lib/docker | tail -1"); strings.Join(strings.Fields(got), " ") == "100% 100%" {
		t.Error("the disk is as full as before")
	}
}

// People's own file system, one for all, keeps a reserve for the OS.
func TestFullOwnDisk(t *testing.T) {
	forRelease(t, "TestFullDisk does the same with the disk that the OS makes")
	t.Parallel()
	path := filepath.Join(t.TempDir(), "own.img")
	if err := qemutest.MakeExt4(t.Context(), path, "RANCHER_STATE", 2<<10, nil); err != nil {
		t.Fatal(err)
	}
	seed, err := newSeed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, qemutest.Options{ISO: artifact(t, isoName), Disks: []qemutest.Disk{{Path: path}}}, seed)
	g.checkFullDisk(t, "cat /dev/zero >/fill")
}

// checkFullDisk has a container run a script that fills the disk of user Docker,
// looks at the OS before and after a reboot, and makes room.
func (g *guest) checkFullDisk(t *testing.T, fill string) {
	g.needImage(t)
	g.awaitHealthy(t, 90*time.Second)
	g.sh(t, "docker run -d --restart always --name returns %s sleep 100000", image)
	g.sh(t, "docker run -d --name fills %s sh -c %s", image, quote("{ "+fill+"; } 2>/dev/null"))
	g.eventually(t, "nothing more fits", 2*time.Minute,
		g.succeeds("docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' fills | grep -x 'exited 1'"))
	if left := g.number(t, "stat -f -c %%f /home") * 4096; left < 48<<20 {
		t.Errorf("a plain container leaves %d bytes; want the reserve of 64 MiB or more", left)
	}
	check := func(t *testing.T, note string) {
		t.Helper()
		hull := g.afloat(t)
		g.sh(t, "sudo ros config set rancher.environment.NOTE %s && sudo ros config get rancher.environment.NOTE | grep -x %[1]s", note)
		g.sh(t, "logger -t e2e %s && sleep 1 && sudo grep -q %[1]s /var/log/messages", note)
		g.sh(t, "sudo ros status >/dev/null; echo %s | sudo tee /root/note /etc/docker/note", note)
		g.sh(t, "docker exec returns true")
		if got := g.sh(t, "docker ps -a --format '{{.Names}}' | sort | xargs"); got != "fills returns" {
			t.Errorf("docker ps lists %s", got)
		}
		hull.check(t)
		g.root(t, "ros service restart ntp && ros service restart syslog")
		g.awaitHealthy(t, 60*time.Second)
	}
	check(t, "first")
	if err := g.restart(t, func() { g.try(t, "sudo reboot") }); err != nil {
		t.Fatal(err)
	}
	if got := g.sh(t, "sudo ros config get rancher.environment.NOTE; cat /etc/docker/note"); got != "first\nfirst" {
		t.Errorf("after the reboot the configuration and a file say %q", got)
	}
	g.eventually(t, "the container is back", 60*time.Second, g.succeeds("docker exec returns true"))
	g.awaitHealthy(t, 90*time.Second)
	check(t, "second")
	g.sh(t, "docker system prune -f && docker run --rm %s true", image)
}
