package network

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/oslog"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// hostnameSysctl is the host's /proc/sys/kernel/hostname, bound by the
// declaration: unlike sethostname(2) it takes no capability.
const hostnameSysctl = "/run/host/hostname"

// HookMain runs the program network-hook.
func HookMain([]string) int {
	log := oslog.New("network")
	env := make(map[string]string)
	for _, kv := range os.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	h := hook{log: log, dir: layout.NetworkDir, etc: layout.EtcDir, ntp: layout.NTPDir, hostname: hostnameSysctl, links: "/sys/class/net"}
	if err := h.run(env); err != nil {
		log.Error("hook", "reason", env["reason"], "interface", env["interface"], "err", err)
		return 1
	}
	return 0
}

// A hook handles one event. Its fields are where things are.
type hook struct {
	log                            *slog.Logger
	dir, etc, ntp, hostname, links string
}

func (h hook) run(env map[string]string) error {
	change := changeOf(env)
	if change == nothing {
		return nil
	}
	var err error
	file := filepath.Join(h.dir, env["interface"]+"."+env["protocol"]+".json")
	switch change {
	case noLink:
		if h.plugged() {
			return nil
		}
		// Nothing to wait for; a link that comes up later is still served.
		return h.ready()
	case gone:
		err = os.Remove(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	case known:
		var changed bool
		f := factsOf(env)
		changed, err = writeFacts(file, f)
		if changed {
			h.log.Info("configured", "interface", env["interface"], "protocol", env["protocol"], "nameservers", f.Nameservers)
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(h.publish(), h.ready())
}

// A change is what an event means to us.
type change int

const (
	nothing change = iota
	known          // a protocol has configured its interface
	gone           // it has taken that back
	noLink         // the interface has no carrier
)

// changeOf sorts dhcpcd's reasons.
func changeOf(env map[string]string) change {
	if env["interface"] == "" || strings.ContainsAny(env["interface"]+env["protocol"], "/\x00") {
		return nothing
	}
	switch {
	case env["reason"] == "NOCARRIER":
		return noLink
	case env["protocol"] == "" || env["protocol"] == "link":
		return nothing
	case env["if_up"] == "true":
		return known
	case env["if_down"] == "true":
		return gone
	}
	return nothing
}

// writeFacts reports whether the facts are other than before: routers repeat
// theirs every few minutes.
func writeFacts(file string, f Facts) (changed bool, err error) {
	raw, err := json.Marshal(f)
	if err != nil {
		return false, fmt.Errorf("encode facts: %w", err)
	}
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, raw) {
		return false, nil
	}
	return true, renameio.WriteFile(file, raw, 0o644)
}

// publish writes everything that depends on the facts anew.
func (h hook) publish() error {
	files, err := filepath.Glob(h.dir + "/*.json") // sorted: DHCP before router advertisements
	if err != nil {
		return err
	}
	var all []Facts
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var f Facts
		if err := json.Unmarshal(raw, &f); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, f)
	}
	f := merge(all)
	return errors.Join(
		rewrite(h.etc+"/resolv.conf", f.resolvConf()),
		rewrite(h.ntp+"/dhcp.sources", f.chronySources()),
		h.setHostname(f.Hostname),
	)
}

// setHostname names a machine that has no name of its own yet.
func (h hook) setHostname(name string) error {
	old, err := os.ReadFile(h.hostname)
	if err != nil {
		return err
	}
	current := strings.TrimSpace(string(old))
	if name == "" || current != osconfig.DefaultHostname || name == current || len(name) > 64 {
		return nil
	}
	h.log.Info("host name from DHCP", "name", name)
	hosts, err := os.ReadFile(h.etc + "/hosts")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(h.hostname, []byte(name), 0),
		rewrite(h.etc+"/hostname", name+"\n"),
		rewrite(h.etc+"/hosts", strings.ReplaceAll(string(hosts), "127.0.1.1 "+current, "127.0.1.1 "+name)),
	)
}

// plugged tells whether any wired link has a carrier.
func (h hook) plugged() bool {
	files, _ := filepath.Glob(h.links + "/e*/carrier")
	return slices.ContainsFunc(files, func(file string) bool {
		raw, err := os.ReadFile(file) // EINVAL while the link is down
		return err == nil && strings.TrimSpace(string(raw)) == "1"
	})
}

// ready tells the orchestrator that this is as good as it gets for now.
func (h hook) ready() error {
	return os.WriteFile(h.dir+"/ready", nil, 0o644)
}

// rewrite changes a file in place, since containers have it bound, and only
// if its content changes. The new text is written before the file is cut, so
// that nobody finds it empty.
func rewrite(path, text string) error {
	old, err := os.ReadFile(path)
	if err == nil && string(old) == text {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Truncate(int64(len(text))), f.Close())
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
