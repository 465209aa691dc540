package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestAudit(t *testing.T) {
	p, engines := testPlaces(t)
	system := engines["system"]
	system.containers = append(system.containers,
		dockerapi.Container{ID: "n1", Name: "ntp", Labels: osService, State: dockerapi.Running, Health: dockerapi.Healthy},
		dockerapi.Container{ID: "k1", Name: "kernel-headers", Labels: configuredService, State: dockerapi.Running})
	system.rights = map[string]dockerapi.Rights{
		"d1": {Privileged: true, ReadOnly: true, HostNamespaces: []string{"network", "pid"}, Mounts: []string{"/a:/a", "/b:/b:ro,rslave"}, OOMScoreAdj: -500},
		"u1": {Privileged: true},
		"n1": {AllDropped: true, CapAdd: []string{"NET_BIND_SERVICE", "SYS_TIME"}, SecurityOpt: []string{"no-new-privileges", "label=disable"}, AppArmor: "docker-default", ReadOnly: true, Memory: 64 << 20},
		"k1": {AllDropped: true, CapAdd: []string{"SYS_ADMIN"}},
		"x1": {CapAdd: []string{"SYS_PTRACE"}},
	}
	code, got, _ := ros(p, "audit")
	for _, want := range []string{
		"docker           yes          all                         -         -                ro     network,pid   2, 1 rw   -        -500\n",
		"ntp              no           NET_BIND_SERVICE,SYS_TIME   default   docker-default   ro     -             0, 0 rw   64 MiB   0\n",
		"agent            no           Docker's,SYS_PTRACE         default",
		"  ntp, SYS_TIME: sets the clock\n",
		"  kernel-headers, SYS_ADMIN: to mount the headers on the directory of the host\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if code != exitOK || strings.Contains(got, "NO REASON") {
		t.Errorf("exit code %d\n%s", code, got)
	}

	// Somebody made the container of ntp anew, by hand.
	system.rights["n1"] = dockerapi.Rights{CapAdd: []string{"SYS_ADMIN"}, SecurityOpt: []string{"seccomp=unconfined"}, HostNamespaces: []string{"pid"}}
	code, got, _ = ros(p, "audit", "--json")
	var list []audited
	if err := json.Unmarshal([]byte(got), &list); err != nil {
		t.Fatal(err)
	}
	want := "SYS_ADMIN pid seccomp=unconfined Docker's own capabilities"
	if missing := strings.Join(list[2].Missing, " "); code != exitFailed || missing != want {
		t.Errorf("exit code %d, without a reason: %s; want %s", code, missing, want)
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
