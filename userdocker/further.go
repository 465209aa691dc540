package userdocker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// A further is the network link between a further engine and the machine. The
// first engine has the zero further: it uses the machine's network.
type further struct {
	device           string // the machine's end
	address, gateway string // of the engine's end and of the machine's
}

func readFurther() further {
	return further{os.Getenv("USER_ENGINE_DEVICE"), os.Getenv("USER_ENGINE_ADDRESS"), os.Getenv("USER_ENGINE_GATEWAY")}
}

func (f further) isFirst() bool { return f.device == "" }

// cgroups is where the cgroups of the engine's containers and shims are.
func (f further) cgroups() string {
	if f.isFirst() {
		return cgroupRoot + layout.UserTier
	}
	return cgroupRoot
}

func (f further) table() string { return "bulkhead-" + f.device }

// ownCgroups lets the engine pass controllers on to its containers' cgroups. A
// cgroup that does so cannot hold processes, so those of this container move to a
// child of its root.
func ownCgroups(root string) error {
	dir := root + "/engine"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	pids, err := os.ReadFile(root + "/cgroup.procs")
	if err != nil {
		return err
	}
	for pid := range strings.FieldsSeq(string(pids)) {
		// Some may have ended meanwhile.
		_ = os.WriteFile(dir+"/cgroup.procs", []byte(pid), 0)
	}
	controllers, err := os.ReadFile(root + "/cgroup.controllers")
	if err != nil {
		return err
	}
	// In one write: nothing else uses these controllers, so none is busy.
	all := "+" + strings.Join(strings.Fields(string(controllers)), " +")
	if err := os.WriteFile(root+"/cgroup.subtree_control", []byte(all), 0); err != nil {
		return fmt.Errorf("cgroups of the engine: %w", err)
	}
	return nil
}

// connect links the engine's network to the machine's, which translates
// addresses. So two engines never share a set of firewall rules. What an earlier
// container left is removed first.
func (f further) connect(ctx context.Context) error {
	for _, c := range []struct {
		host, mayFail bool
		stdin         string
		args          []string
	}{
		{host: true, mayFail: true, args: []string{"ip", "link", "delete", f.device}},
		{host: true, args: []string{"ip", "link", "add", f.device, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(os.Getpid())}},
		{host: true, args: []string{"ip", "address", "add", f.gateway + "/30", "dev", f.device}},
		{host: true, args: []string{"ip", "link", "set", f.device, "up"}},
		{args: []string{"ip", "link", "set", "lo", "up"}},
		{args: []string{"ip", "address", "add", f.address + "/30", "dev", "eth0"}},
		{args: []string{"ip", "link", "set", "eth0", "up"}},
		{args: []string{"ip", "route", "add", "default", "via", f.gateway}},
		{host: true, args: []string{"nft", "-f", "-"}, stdin: fmt.Sprintf(`table ip %[1]s {}
delete table ip %[1]s
table ip %[1]s {
	chain out {
		type nat hook postrouting priority srcnat
		ip saddr %[2]s oifname != %[3]q masquerade
	}
}
`, f.table(), f.address, f.device)},
	} {
		if err := f.command(ctx, c.host, c.stdin, c.args...); err != nil && !c.mayFail {
			return err
		}
	}
	return nil
}

// disconnect removes the machine's part of the engine's network. The link itself
// disappears with the container.
func (f further) disconnect(ctx context.Context) error {
	return f.command(ctx, true, "", "nft", "delete", "table", "ip", f.table())
}

// command runs a command in the engine's network, or in the machine's.
func (f further) command(ctx context.Context, host bool, stdin string, args ...string) error {
	if host {
		args = append([]string{"nsenter", "--net=" + layout.HostNetwork}, args...)
	}
	if err := tool.Run(ctx, stdin, args...); err != nil {
		return fmt.Errorf("network of the engine: %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// own creates what a further engine does not share with the machine.
func (f further) own(ctx context.Context) error {
	if f.isFirst() {
		return nil
	}
	return errors.Join(ownCgroups(cgroupRoot), f.connect(ctx))
}
