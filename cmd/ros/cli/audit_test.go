package cli

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// A process is one that a kernel shows.
type process struct {
	pid    int
	cgroup string
	label  string
	shares []string // namespaces that it has in common with PID 1, as in /proc
}

// show makes the kernel show processes.
func (k kernel) show(t *testing.T, list ...process) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(k.proc, "1")); err != nil {
		list = append(list, process{pid: 1, cgroup: "/system/engine", label: unconfined, shares: []string{"net", "pid", "ipc", "uts", "cgroup"}})
	}
	for _, p := range list {
		dir, cgroup := filepath.Join(k.proc, strconv.Itoa(p.pid)), filepath.Join(k.cgroups, p.cgroup)
		for _, dir := range []string{filepath.Join(dir, "ns"), filepath.Join(dir, "attr"), cgroup} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for file := range namespaceKeys {
			inode := p.pid
			if slices.Contains(p.shares, file) {
				inode = 1
			}
			if err := os.Symlink(file+":["+strconv.Itoa(inode)+"]", filepath.Join(dir, "ns", file)); err != nil {
				t.Fatal(err)
			}
		}
		procs, err := os.OpenFile(filepath.Join(cgroup, "cgroup.procs"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := procs.WriteString(strconv.Itoa(p.pid) + "\n"); err != nil {
			t.Fatal(err)
		}
		if err := procs.Close(); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"cgroup": "0::" + p.cgroup + "\n", "attr/current": p.label + "\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const confined = "docker-default (enforce)"

func TestAudit(t *testing.T) {
	p, engines := testPlaces(t)
	if err := os.MkdirAll(filepath.Join(p.root, "var/lib/rancher/conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := "rancher:\n  services:\n    agent: {image: a, cap_add: [SYS_PTRACE], labels: {io.rancher.os.scope: system}}\n"
	if err := os.WriteFile(filepath.Join(p.root, "var/lib/rancher/conf/cloud-config.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := func(name string) map[string]string { return map[string]string{plan.LabelService: name} }
	system := engines["system"]
	system.containers = []dockerapi.Container{
		{ID: "x1", Name: "agent", Labels: map[string]string{plan.LabelConfigured: "agent"}, State: dockerapi.Running},
		{ID: "d1", Name: "docker", Labels: ours("docker"), ImageID: "sha256:dd", State: dockerapi.Running},
		{ID: "n1", Name: "ntp", Labels: ours("ntp"), State: dockerapi.Running},
		{ID: "u1", Name: "udev", Labels: ours("udev"), ImageID: "sha256:ee", State: dockerapi.Exited},
	}
	ntp := dockerapi.Rights{
		AllDropped: true, CapAdd: []string{"NET_BIND_SERVICE", "SYS_TIME"}, SecurityOpt: []string{"no-new-privileges", "label=disable"},
		HostNamespaces: []string{"network_mode", "uts"}, Mounts: []string{"/run/bulkhead/ntp:/run/bulkhead/ntp:ro", "/var/lib/rancher/ntp:/var/lib/chrony"},
		ReadOnly: true, Memory: 64 << 20,
	}
	system.rights = map[string]dockerapi.Rights{
		"x1": {CapAdd: []string{"SYS_PTRACE"}},
		"d1": {Privileged: true, ReadOnly: true, Mounts: []string{"/a:/a", "/b:/b:ro,rslave"}, OOMScoreAdj: -500},
		"n1": ntp,
		"u1": {Privileged: true, HostNamespaces: []string{"network_mode"}},
	}
	system.pids = map[string]int{"x1": 100, "d1": 200, "n1": 300}
	p.kernel.show(t,
		process{pid: 100, cgroup: "/system/x1", label: confined},
		process{pid: 200, cgroup: "/user-tier/d1", label: unconfined, shares: []string{"net", "pid"}},
		process{pid: 201, cgroup: "/user-tier/d1/containers/c", label: confined},
		process{pid: 300, cgroup: "/system/n1", label: confined, shares: []string{"net", "uts"}})

	code, got, errs := ros(p, "audit")
	for _, want := range []string{
		"docker      running   yes          all                         -         docker-default (enforce), unconfined   ro     network_mode,pid   all       2, 1 rw   -        -500\n",
		"ntp         running   no           NET_BIND_SERVICE,SYS_TIME   default   docker-default (enforce)               ro     network_mode,uts   -         2, 1 rw   64 MiB   0\n",
		"agent       running   no           Docker's,SYS_PTRACE         default",
		"udev        exited    yes ",
		"  ntp, SYS_TIME: sets the clock\n",
		"  ntp, /var/lib/rancher/ntp: how fast",
		"  docker, pid: starts its daemons",
		"  agent, SYS_PTRACE: rancher.services asks for it\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s%s", want, got, errs)
		}
	}
	if code != exitOK || strings.Contains(got, "NO REASON") || strings.Contains(got, "NOT OURS") {
		t.Errorf("exit code %d\n%s", code, got)
	}

	for _, tt := range []struct {
		name    string
		change  func()
		missing string // of the last container
		foreign bool
	}{
		{"ntp made anew, by hand", func() {
			system.rights["n1"] = dockerapi.Rights{
				CapAdd: []string{"SYS_ADMIN"}, SecurityOpt: []string{"seccomp=unconfined"}, HostNamespaces: []string{"pid"},
				DeviceCgroupRules: []string{"b *:* rwm"}, Devices: []string{"/dev/sda"}, Mounts: []string{"/:/host", "/run:/r:ro", "cache:/c"},
			}
		}, "/ /dev/sda /run SYS_ADMIN b *:* rwm pid seccomp=unconfined Docker's own capabilities", false},
		{"another image", func() { system.containers[1].ImageID = "sha256:ff" }, "another image than the shipped one", false},
		{"a process that somebody put there", func() {
			p.kernel.show(t, process{pid: 301, cgroup: "/system/n1/below", label: unconfined})
		}, "a process that is unconfined", false},
		{"a profile that only complains", func() {
			p.kernel.show(t, process{pid: 301, cgroup: "/system/n1", label: "docker-default (complain)"})
		}, "a process that is docker-default (complain)", false},
		{"the namespaces of another container", func() {
			p.kernel.show(t, process{pid: 500, cgroup: "/system/a2", label: confined, shares: []string{"net", "pid"}})
			system.pids["x1"] = 500
		}, "network_mode pid", false},
		{"unconfined as configured nowhere", func() {
			system.rights["x1"] = dockerapi.Rights{CapAdd: []string{"SYS_PTRACE"}, SecurityOpt: []string{"apparmor=unconfined"}}
			p.kernel.show(t, process{pid: 500, cgroup: "/system/a2", label: unconfined})
			system.pids["x1"] = 500
		}, "apparmor=unconfined", false},
		{"a container of nobody", func() {
			system.containers = append(system.containers, dockerapi.Container{ID: "s1", Name: "spy", State: dockerapi.Running})
			system.rights["s1"] = dockerapi.Rights{AllDropped: true, Mounts: []string{"/run/system-docker.sock:/s:ro"}}
		}, "/run/system-docker.sock", true},
		{"the label of another service", func() {
			system.containers = append(system.containers, dockerapi.Container{ID: "s1", Name: "spy", Labels: ours("ntp"), State: dockerapi.Running})
			system.rights["s1"] = ntp
		}, "/var/lib/rancher/ntp NET_BIND_SERVICE SYS_TIME network_mode uts", true},
		{"the label of a service that nobody configured", func() {
			system.containers[0].Labels = map[string]string{plan.LabelConfigured: "other"}
		}, "SYS_PTRACE Docker's own capabilities", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			containers, rights, pids := slices.Clone(system.containers), system.rights, system.pids
			was := p.kernel
			system.rights, system.pids = maps.Clone(rights), maps.Clone(pids)
			p.kernel = kernel{proc: filepath.Join(t.TempDir(), "proc"), cgroups: filepath.Join(t.TempDir(), "cgroup")}
			p.kernel.show(t,
				process{pid: 100, cgroup: "/system/x1", label: confined},
				process{pid: 200, cgroup: "/user-tier/d1", label: unconfined},
				process{pid: 300, cgroup: "/system/n1", label: confined})
			t.Cleanup(func() { system.containers, system.rights, system.pids, p.kernel = containers, rights, pids, was })
			system.containers = slices.Clone(containers)
			tt.change()
			code, got, errs := ros(p, "audit", "--json")
			var list []audited
			if err := json.Unmarshal([]byte(got), &list); err != nil {
				t.Fatalf("%v\n%s%s", err, got, errs)
			}
			list = slices.DeleteFunc(list, func(a audited) bool { return !a.faulty() })
			if len(list) != 1 {
				t.Fatalf("exit code %d, at fault: %+v; want one", code, list)
			}
			if diff := cmp.Diff(tt.missing, strings.Join(list[0].Missing, " ")); diff != "" || list[0].Foreign != tt.foreign || code != exitFailed {
				t.Errorf("exit code %d, foreign %v, without a reason (-want +got):\n%s", code, list[0].Foreign, diff)
			}
			if _, text, _ := ros(p, "audit"); tt.foreign != strings.Contains(text, ": NOT OURS: ") || !strings.Contains(text, ": NO REASON\n") {
				t.Errorf("people read\n%s", text)
			}
		})
	}
}

// TestCatalogueIsRight: the configuration's parser takes each file of the
// catalogue without a problem.
func TestCatalogueIsRight(t *testing.T) {
	for _, name := range images.CatalogueNames() {
		text, err := catalogue(name)
		if err != nil {
			t.Fatal(err)
		}
		services, problems := osconfig.ParseServices(name, text)
		if len(problems) > 0 || services[name].Image == "" {
			t.Errorf("%s: %v, %v", name, services, problems)
		}
	}
}
