package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

func TestAudit(t *testing.T) {
	p, engines := testPlaces(t)
	system := engines["system"]
	system.containers = append(system.containers,
		dockerapi.Container{ID: "n1", Name: "ntp", Labels: osService, State: dockerapi.Running, Health: dockerapi.Healthy})
	system.rights = map[string]dockerapi.Rights{
		"d1": {Privileged: true, ReadOnly: true, HostNamespaces: []string{"network", "pid"}, Mounts: []string{"/a:/a", "/b:/b:ro,rslave"}, OOMScoreAdj: -500},
		"u1": {Privileged: true},
		"n1": {AllDropped: true, CapAdd: []string{"NET_BIND_SERVICE", "SYS_TIME"}, SecurityOpt: []string{"no-new-privileges", "label=disable"}, AppArmor: "docker-default", ReadOnly: true, Memory: 64 << 20},
		"x1": {CapAdd: []string{"SYS_PTRACE"}},
	}
	code, got, _ := ros(p, "audit")
	for _, want := range []string{
		"docker    yes          all                         -         -                ro     network,pid   2, 1 rw   -        -500\n",
		"ntp       no           NET_BIND_SERVICE,SYS_TIME   default   docker-default   ro     -             0, 0 rw   64 MiB   0\n",
		"agent     no           Docker's,SYS_PTRACE         default",
		"  ntp, SYS_TIME: sets the clock\n",
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
