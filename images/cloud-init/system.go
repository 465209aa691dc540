package cloudinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// A systemFile is a file that other services read. Without content it is not
// there.
type systemFile struct {
	path string
	text string
	mode fs.FileMode
}

const zoneinfo = "/usr/share/zoneinfo"

// WriteSystem writes what the configuration says about time, trust, proxies
// and the machine's end into files of the host, where services find it.
func WriteSystem(cfg osconfig.Config) error {
	zone, err := readZone(os.DirFS(zoneinfo), cfg.Timezone)
	errs := []error{err, os.MkdirAll(layout.CertDir, 0o755), os.MkdirAll(layout.NTPDir, 0o755)}
	for _, f := range systemFiles(cfg, zone) {
		errs = append(errs, f.write())
	}
	return errors.Join(errs...)
}

// systemFiles returns the files for a configuration. zone is the content of
// its time zone.
func systemFiles(cfg osconfig.Config, zone string) []systemFile {
	name := string(cfg.Timezone)
	if name == "" {
		name = "UTC"
	}
	trusted := ""
	for _, text := range cfg.CACerts.Trusted {
		trusted += strings.TrimSpace(text) + "\n"
	}
	proxies := ""
	for _, variable := range cfg.Rancher.Network.ProxyEnvironment() {
		proxies += variable + "\n"
	}
	timeout := ""
	if s := cfg.Rancher.ShutdownTimeout; s > 0 {
		timeout = fmt.Sprintln(s)
	}
	only := ""
	if cfg.CACerts.RemoveDefaults {
		only = "the usual certificate authorities do not count\n"
	}
	return []systemFile{
		{filepath.Join(layout.EtcDir, "localtime"), zone, 0o644},
		{filepath.Join(layout.EtcDir, "timezone"), name + "\n", 0o644},
		{filepath.Join(layout.NTPDir, "configuration.conf"), chronyConf(cfg.NTP), 0o644},
		{filepath.Join(layout.NTPDir, "configuration.sources"), chronySources(cfg.NTP), 0o644},
		{layout.TrustedCerts, trusted, 0o644},
		{layout.OnlyTrusted, only, 0o644},
		{layout.Proxies, proxies, 0o600}, // with passwords
		{layout.ShutdownTimeout, timeout, 0o644},
		{layout.UserTierSettings, userTierSettings(cfg.Rancher), 0o644},
	}
}

// userTierSettings returns what PID 1 reads of the user tier. A limit that is not
// set has no line.
func userTierSettings(r osconfig.Rancher) string {
	text := layout.TierPorts
	if port := r.SSH.ListenPort(); port > 0 {
		text += fmt.Sprint(" ", port)
	}
	text += "\n"
	t := r.UserTier
	if t.OSDisks {
		text += layout.TierOSDisks + "\n"
	}
	for _, l := range []struct {
		file  string
		value int64
	}{
		{"memory.max", t.MemLimit.Bytes()},
		{"memory.swap.max", t.SwapLimit.Bytes()},
		{"pids.max", int64(t.PidsLimit)},
		{"cpu.weight", int64(t.CPUWeight)},
		{"io.weight", int64(t.IOWeight)},
	} {
		switch {
		case l.value > 0:
			text += fmt.Sprintln(l.file, l.value)
		case l.value < 0:
			text += l.file + " max\n"
		}
	}
	return text
}

// announceDisks tells user Docker whether there are disks or mounts to wait for.
func announceDisks(cfg osconfig.Config) error {
	text := ""
	if cfg.HasDisks() {
		text = "disks or mounts\n"
	}
	return systemFile{string(milestone.StorageWanted), text, 0o644}.write()
}

// write writes the file in place: it may be bound into a container.
func (f systemFile) write() error {
	if f.text == "" {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return os.WriteFile(f.path, []byte(f.text), f.mode)
}

// readZone returns the content of a time zone, or that of UTC with an error.
func readZone(zones fs.FS, zone osconfig.Timezone) (string, error) {
	utc, err := fs.ReadFile(zones, "Etc/UTC")
	if zone == "" || zone == "UTC" || err != nil {
		return string(utc), err
	}
	text, err := fs.ReadFile(zones, string(zone))
	if err != nil || !strings.HasPrefix(string(text), "TZif") {
		return string(utc), fmt.Errorf("timezone: there is no %s; want a name such as Europe/Berlin", zone)
	}
	return string(text), nil
}

// defaultPool is where the time comes from when nothing is configured, beside
// the servers that DHCP names.
const defaultPool = "pool.ntp.org"

// chronyConf returns the part of chrony.conf that the configuration decides
// about. chrony reads it when it starts.
func chronyConf(n osconfig.NTP) string {
	if !n.Enabled {
		return "# The configuration wants no time from the network.\n"
	}
	lines := []string{"sourcedir " + layout.NTPDir}
	if len(n.Allow) > 0 {
		lines = append(lines, "port 123")
		for _, network := range n.Allow {
			lines = append(lines, "allow "+string(network))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// chronySources returns where the time comes from, which chrony reads again
// every minute.
func chronySources(n osconfig.NTP) string {
	pools := n.Pools
	if len(n.Servers)+len(n.Pools)+len(n.Peers) == 0 {
		pools = []osconfig.Host{defaultPool}
	}
	var text strings.Builder
	for _, host := range n.Servers {
		fmt.Fprintf(&text, "server %s iburst\n", host)
	}
	for _, host := range pools {
		fmt.Fprintf(&text, "pool %s iburst maxsources 4\n", host)
	}
	for _, host := range n.Peers {
		fmt.Fprintf(&text, "peer %s\n", host)
	}
	return text.String()
}
