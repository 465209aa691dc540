package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// Services that are not on the medium come as archives, and do what they are for.
func TestOptionalServices(t *testing.T) {
	forRelease(t, "the archives take minutes to make")
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	base := serve(t, http.FileServer(http.Dir(artifacts()+"/services")))
	enable := func(t *testing.T, name string) {
		t.Helper()
		artifact(t, "services/"+name+".tar.zst")
		g.sh(t, "cd /tmp && curl -sfO %[1]s/%[2]s.tar.zst && sudo ros service enable %[2]s.tar.zst && rm %[2]s.tar.zst", base, name)
		t.Cleanup(func() {
			g.sh(t, "sudo ros service delete %[1]s && sudo system-docker rmi docker.io/bulkhead/%[1]s:$(ros os version)", name)
		})
	}

	t.Run("without its archive", func(t *testing.T) {
		r := g.try(t, "sudo ros service enable qemu-guest-agent")
		if want := "sudo ros service enable qemu-guest-agent.tar.zst loads it"; r.Exit != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("enable: %+v; want exit code 1 and %q", r, want)
		}
	})
	if !testing.Short() {
		t.Run("kernel-headers", func(t *testing.T) { g.checkHeaders(t, func() { enable(t, "kernel-headers") }) })
		t.Run("kernel-modules-extra and open-iscsi", func(t *testing.T) {
			g.checkModules(t, func() { enable(t, "kernel-modules-extra") })
			enable(t, "open-iscsi")
			g.checkISCSI(t)
		})
	}
	t.Run("qemu-guest-agent", func(t *testing.T) {
		enable(t, "qemu-guest-agent")
		ctx, cancel := context.WithTimeout(t.Context(), qemutest.Scaled(time.Minute))
		defer cancel()
		agent, err := qemutest.DialAgent(ctx, g.Dir)
		if err != nil {
			t.Fatal(err)
		}
		defer agent.Close()
		var interfaces []struct {
			Name      string `json:"name"`
			Addresses []struct {
				Address string `json:"ip-address"`
			} `json:"ip-addresses"`
		}
		if err := agent.Execute(ctx, "guest-network-get-interfaces", nil, &interfaces); err != nil {
			t.Fatal(err)
		}
		addresses := make(map[string]bool)
		for _, i := range interfaces {
			for _, a := range i.Addresses {
				addresses[i.Name+" "+a.Address] = true
			}
		}
		if !addresses["eth0 10.0.2.15"] {
			t.Errorf("addresses: %v; want that of eth0", addresses)
		}
		var system struct {
			ID string `json:"id"`
		}
		if err := agent.Execute(ctx, "guest-get-osinfo", nil, &system); err != nil || system.ID != "bulkhead" {
			t.Errorf("system: %+v, %v", system, err)
		}
		if err := agent.Execute(ctx, "guest-exec", map[string]string{"path": "id"}, nil); err == nil {
			t.Error("guest-exec is carried out, in the container of the agent")
		}
	})
}

// checkHeaders looks for what a module is built with, where builds look for it.
func (g *guest) checkHeaders(t *testing.T, enable func()) {
	t.Helper()
	const there = "cd /lib/modules/$(uname -r)/build/ && test -f Makefile -a -f Module.symvers -a -x scripts/mod/modpost"
	if r := g.try(t, there); r.Exit == 0 {
		t.Error("there are headers without the service")
	}
	enable()
	g.eventually(t, "headers in the console", 30*time.Second, g.succeeds(there))
	g.sh(t, "docker run --rm -v /usr/src:/usr/src:ro -v /lib/modules:/lib/modules:ro %s sh -c %s", image, quote(there))
	g.sh(t, "sudo ros service stop kernel-headers")
	if r := g.try(t, there); r.Exit == 0 {
		t.Error("the headers are there after the service")
	}
}

// checkModules loads a module that the medium has not, with one that it has.
func (g *guest) checkModules(t *testing.T, enable func()) {
	t.Helper()
	const load = "modprobe iscsi_target_mod"
	if r := g.try(t, "sudo "+load); r.Exit == 0 {
		t.Errorf("%s works without the service", load)
	}
	enable()
	g.eventually(t, "all drivers are there", time.Minute, g.succeeds("sudo system-docker logs kernel-modules-extra | grep -q complete"))
	g.root(t, load+" && modprobe target_core_file && modprobe ext4")
	g.sh(t, "docker run --rm -v /lib/modules:/lib/modules:ro %s modinfo snd-hda-intel", image)
}

// checkISCSI gives the machine one of its own files as a disk, by the kernel's
// target, and has user Docker mount it.
func (g *guest) checkISCSI(t *testing.T) {
	t.Helper()
	const (
		name = "iqn.2026-01.test.e2e:disk"
		disk = "/dev/disk/by-path/ip-127.0.0.1:3260-iscsi-" + name + "-lun-0"
		adm  = "sudo system-docker exec open-iscsi iscsiadm "
	)
	g.root(t, `mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
		cd /sys/kernel/config/target && truncate -s 64M /opt/e2e-lun
		mkdir -p core/fileio_0/disk iscsi/%[1]s/tpgt_1/lun/lun_0 iscsi/%[1]s/tpgt_1/np/127.0.0.1:3260
		echo fd_dev_name=/opt/e2e-lun,fd_dev_size=67108864 >core/fileio_0/disk/control && echo 1 >core/fileio_0/disk/enable
		cd iscsi/%[1]s/tpgt_1 && ln -s /sys/kernel/config/target/core/fileio_0/disk lun/lun_0/disk
		echo 0 >attrib/authentication && echo 1 >attrib/generate_node_acls && echo 0 >attrib/demo_mode_write_protect && echo 1 >enable`, name)
	t.Cleanup(func() {
		g.root(t, `cd /sys/kernel/config/target && cd iscsi/%[1]s/tpgt_1 && echo 0 >enable && rm lun/lun_0/disk && rmdir np/* lun/lun_0 && cd ../.. && rmdir %[1]s/tpgt_1 %[1]s
			cd .. && rmdir core/fileio_0/disk core/fileio_0 && rm /opt/e2e-lun`, name)
	})
	g.eventually(t, "the target is found", time.Minute, g.succeeds(adm+"-m discovery -t sendtargets -p 127.0.0.1 | grep -q "+name))
	g.sh(t, adm+"-m node -T %s --login", name)
	t.Cleanup(func() { g.sh(t, adm+"-m node -T %s --logout && "+adm+"-m node -T %[1]s -o delete", name) })
	g.eventually(t, "disk "+disk, 30*time.Second, g.succeeds("test -b "+disk))
	g.root(t, "mkfs.ext4 -q %s && docker volume create -o type=ext4 -o device=%s e2e-far", disk, disk)
	t.Cleanup(func() { g.sh(t, "docker volume rm e2e-far") })
	g.sh(t, "docker run --rm -v e2e-far:/far %s sh -c 'echo ahoy >/far/ship'", image)
	// The session is the kernel's: what is mounted stays usable.
	g.sh(t, "sudo ros service restart open-iscsi")
	if got := g.sh(t, "docker run --rm -v e2e-far:/far %s cat /far/ship", image); got != "ahoy" {
		t.Errorf("the file on the disk says %q", got)
	}
}
