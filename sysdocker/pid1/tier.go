package pid1

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/fence"
)

// tierEvery is how often a look shows memory that was added, swap that came, a
// disk that was mounted, and other settings.
const tierEvery = 10 * time.Second

// A tierState is what holds the user tier: its limits and those of the OS, and
// what it cannot use.
type tierState struct {
	limits limits
	rules  fence.Rules
}

// tierNow returns what this machine and its configuration want.
func tierNow() (t tierState, err error) {
	m, err := readResources("/proc")
	if err != nil {
		return t, err
	}
	text, err := os.ReadFile(layout.UserTierSettings)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return t, err
	}
	settings := parseTierSettings(string(text))
	t.limits, t.rules.Ports = m.limits(settings.limits), settings.ports
	t.rules.Devices, err = fence.Devices("/", !settings.osDisks, layout.StateDir, layout.DataDir, layout.MediumDir)
	return t, err
}

// set puts it into force.
func (t tierState) set() error {
	return errors.Join(t.limits.write(cgroupRoot), fence.Set(cgroupRoot+layout.UserTier, t.rules))
}

func (t tierState) equal(other tierState) bool {
	return slices.Equal(t.limits, other.limits) && slices.Equal(t.rules.Devices, other.rules.Devices) && slices.Equal(t.rules.Ports, other.rules.Ports)
}

// keepTier keeps the user tier as machine and configuration want it. The kernel
// keeps what is in force if it ends.
func (s *system) keepTier(now tierState) {
	err := protect(func() {
		for {
			select {
			case <-s.ending:
				return
			case <-time.After(tierEvery):
			}
			want, err := tierNow()
			err = errors.Join(err, keepCgroupOptions())
			if err == nil && !want.equal(now) {
				err = want.set()
				s.log.Info("user tier set", "limits", want.limits, "devices", len(want.rules.Devices), "ports", want.rules.Ports)
				now = want
			}
			if err != nil {
				s.log.Error("user tier", "err", err)
			}
		}
	})
	if err != nil {
		s.log.Error("the user tier's settings are no longer followed", "err", err)
	}
}

// keepCgroupOptions mounts the cgroups with init's options again. runc takes them
// away when it starts a service that has the machine's cgroup namespace: the
// options are the hierarchy's, and the last mount from that namespace counts.
func keepCgroupOptions() error {
	const flags = unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", cgroupRoot, "", flags, layout.CgroupOptions); err != nil {
		return fmt.Errorf("options of the cgroups: %w", err)
	}
	return nil
}

// tierSettings are what the configuration says of the user tier.
type tierSettings struct {
	// limits are values by file of its cgroup.
	limits map[string]string
	// ports are those of the OS.
	ports []uint16
	// osDisks says that it may use the disks of the OS.
	osDisks bool
}

// parseTierSettings reads lines of a name and values. Before cloud-init has
// written them ssh has its usual port.
func parseTierSettings(text string) tierSettings {
	s := tierSettings{limits: make(map[string]string)}
	for line := range strings.Lines(cmp.Or(text, fmt.Sprintln(layout.TierPorts, 22))) {
		name, values, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case layout.TierPorts:
			for v := range strings.FieldsSeq(values) {
				if port, err := strconv.ParseUint(v, 10, 16); err == nil {
					s.ports = append(s.ports, uint16(port))
				}
			}
		case layout.TierOSDisks:
			s.osDisks = true
		default:
			s.limits[name] = values
		}
	}
	return s
}
