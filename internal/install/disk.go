// Package install puts the running system onto a disk. What is on the disk is
// looked at first and judged by pure functions; a plan of named steps then does
// the work. Until its last step nothing boots from the disk, and the partition
// table is the last thing that is written: a power cut leaves a disk that is
// empty to firmware and systems.
package install

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/gpt"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// A Disk is what was found out about one.
type Disk struct {
	Path string `json:"path"`
	// Model and Serial are what it says of itself, if anything.
	Model  string `json:"model,omitempty"`
	Serial string `json:"serial,omitempty"`
	Size   int64  `json:"size"`
	Sector int    `json:"sector"`
	// GUID names its partition table.
	GUID    string    `json:"guid,omitempty"`
	Content []Content `json:"content"`
	// Installed is the ID of the installation that it holds, if it is ours.
	Installed string `json:"installed,omitempty"`

	// What keeps it from being installed to.
	Partition, ReadOnly, Medium bool     `json:"-"`
	Uses                        []string `json:"uses,omitempty"`
}

// Content is a partition, or what is on the disk as a whole.
type Content struct {
	Device string `json:"device"`
	Size   int64  `json:"size"`
	Type   string `json:"type,omitempty"`
	Label  string `json:"label,omitempty"`
	Name   string `json:"name,omitempty"`
}

func (c Content) String() string {
	what := c.Type
	if what == "" {
		what = "unknown content"
	}
	if c.Label != "" {
		what += fmt.Sprintf(" %q", c.Label)
	}
	if c.Name != "" && c.Name != c.Label {
		what += " (" + c.Name + ")"
	}
	if means, known := meanings[c.Type]; known {
		what += ": " + means
	}
	if c.Label == layout.StateLabel {
		what += ": the state of a RancherOS, BurmillaOS or Bulkhead"
	}
	return what
}

// meanings explains what cannot be mounted as it is.
var meanings = map[string]string{
	"LVM2_member":       "part of a volume group",
	"linux_raid_member": "part of a RAID",
	"crypto_LUKS":       "encrypted",
}

// Name is what people call the disk: sda.
func (d Disk) Name() string { return strings.TrimPrefix(d.Path, "/dev/") }

// Blank reports whether there is nothing on it.
func (d Disk) Blank() bool { return len(d.Content) == 0 && d.GUID == "" }

// Named reports whether text is the serial number or the GUID of the disk.
func (d Disk) Named(text string) bool {
	return text != "" && (text == d.Serial || strings.EqualFold(text, d.GUID))
}

// Refusal returns why nothing is installed to the disk, whatever anybody says.
func (d Disk) Refusal() error {
	switch {
	case d.Partition:
		return fmt.Errorf("%s is a partition: name the whole disk", d.Path)
	case d.Medium:
		return fmt.Errorf("%s is what this system runs from", d.Path)
	case d.ReadOnly:
		return fmt.Errorf("%s is write-protected", d.Path)
	case len(d.Uses) > 0:
		hint := "unmount it first"
		if slices.ContainsFunc(d.Uses, func(u string) bool { return strings.HasSuffix(u, " on "+layout.StateDir) }) {
			hint = "it holds this machine's state: boot with rancher.state.dev= (empty) to leave it alone"
		}
		return fmt.Errorf("%s is in use: %s; %s", d.Path, strings.Join(d.Uses, ", "), hint)
	}
	if _, err := disklayout.Plan(d.Size, d.Sector); err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	return nil
}

// A Machine is where disks are looked for: "/" and the mounts of its first
// process, or a tree of a test.
type Machine struct{ Root string }

func (m Machine) path(name string) string { return filepath.Join(m.Root, name) }

// Disks returns the whole disks that a machine could be installed to, refused
// ones among them.
func (m Machine) Disks() ([]Disk, error) {
	all, err := blockdev.List(m.Root)
	if err != nil {
		return nil, err
	}
	var disks []Disk
	for _, d := range all {
		if d.Disk == "" && isDisk(d.Name) {
			disks = append(disks, m.describe(d, all))
		}
	}
	return disks, nil
}

// isDisk leaves out what is made of other devices, or of files.
func isDisk(name string) bool {
	for _, prefix := range []string{"loop", "dm-", "md", "sr"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// Look returns the disk that a device names: a path, or LABEL= and the like.
func (m Machine) Look(device string) (Disk, error) {
	all, err := blockdev.List(m.Root)
	if err != nil {
		return Disk{}, err
	}
	if !strings.Contains(device, "=") && !strings.HasPrefix(device, "/") {
		device = "/dev/" + device
	}
	found, err := blockdev.Match(all, device, m.Root)
	switch {
	case err != nil:
		return Disk{}, err
	case len(found) > 1:
		return Disk{}, fmt.Errorf("%s is ambiguous: %s, %s", device, found[0].Path, found[1].Path)
	case len(found) == 0:
		return Disk{}, fmt.Errorf("there is no device %s; the disks are %s", device, names(all))
	}
	return m.describe(found[0], all), nil
}

func names(all []blockdev.Device) string {
	var list []string
	for _, d := range all {
		if d.Disk == "" && isDisk(d.Name) {
			list = append(list, d.Path)
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// Only returns the one disk that can be installed to.
func Only(disks []Disk) (Disk, error) {
	var fit []Disk
	var errs []error
	for _, d := range disks {
		if err := d.Refusal(); err != nil {
			errs = append(errs, err)
			continue
		}
		fit = append(fit, d)
	}
	switch {
	case len(fit) == 0:
		return Disk{}, errors.Join(append([]error{errors.New("there is no disk to install to")}, errs...)...)
	case len(fit) > 1:
		return Disk{}, fmt.Errorf("there is more than one disk to install to, %s and %s: name one", fit[0].Path, fit[1].Path)
	}
	return fit[0], nil
}

func (m Machine) describe(d blockdev.Device, all []blockdev.Device) Disk {
	attr := func(files ...string) string {
		for _, file := range files {
			text, err := os.ReadFile(m.path(filepath.Join("sys/class/block", d.Name, file)))
			if err == nil && len(bytes.TrimSpace(text)) > 0 {
				return string(bytes.TrimSpace(text))
			}
		}
		return ""
	}
	disk := Disk{
		Path: d.Path, Size: d.Size, Sector: d.Sector, ReadOnly: d.ReadOnly, Partition: d.Disk != "",
		Model: attr("device/model"), Serial: attr("serial", "device/serial"), Content: []Content{},
	}
	if disk.Serial == "" {
		page, _ := os.ReadFile(m.path(filepath.Join("sys/class/block", d.Name, "device/vpd_pg80")))
		disk.Serial = unitSerial(page)
	}
	var parts []blockdev.Device
	for _, other := range all {
		if other.Disk == d.Name {
			parts = append(parts, other)
			disk.Content = append(disk.Content, Content{other.Path, other.Size, other.Info.Type, other.Info.Label, other.PartName})
		}
	}
	if d.Info.Type != "" {
		disk.Content = append(disk.Content, Content{d.Path, d.Size, d.Info.Type, d.Info.Label, ""})
	}
	m.readTable(&disk)
	disk.Uses = m.uses(append(parts, d))
	disk.Medium = slices.ContainsFunc(disk.Uses, func(u string) bool { return strings.HasSuffix(u, " on "+layout.MediumDir) })
	return disk
}

// unitSerial reads the page of a SCSI disk that holds its serial number (SPC-4,
// 7.8.16): a header of four bytes, the last two of them the length.
func unitSerial(page []byte) string {
	if len(page) < 4 {
		return ""
	}
	n := min(int(page[2])<<8|int(page[3]), len(page)-4)
	return strings.TrimSpace(string(page[4 : 4+n]))
}

// readTable fills in what the disk's partition table says.
func (m Machine) readTable(d *Disk) {
	f, err := os.Open(m.path(d.Path))
	if err != nil {
		return
	}
	defer f.Close()
	table, err := gpt.Read(f, d.Size, d.Sector)
	if err != nil {
		return
	}
	d.GUID = table.ID.String()
	_, p, found := disklayout.Find(table, disklayout.BootState)
	if !found || !disklayout.IsInstalled(table) {
		return
	}
	block := make([]byte, bootstate.Unit)
	if _, err := f.ReadAt(block, int64(p.Start)*int64(d.Sector)+bootstate.RecordOffset); err != nil {
		return
	}
	if v, err := bootstate.Decode(block); err == nil {
		d.Installed = v[recordID]
	}
}

// uses returns what uses the devices: mounts, swap, volumes made of them.
func (m Machine) uses(devices []blockdev.Device) []string {
	var uses []string
	// Its first process sees the machine's own mounts.
	mounts, _ := os.ReadFile(m.path("proc/1/mountinfo"))
	swaps, _ := os.ReadFile(m.path("proc/swaps"))
	for _, d := range devices {
		number, _ := os.ReadFile(m.path(filepath.Join("sys/class/block", d.Name, "dev")))
		for line := range strings.Lines(string(mounts)) {
			fields := strings.Fields(line)
			if len(fields) > 4 && fields[2] == strings.TrimSpace(string(number)) {
				uses = append(uses, d.Path+" on "+fields[4])
				break // one says enough
			}
		}
		if strings.Contains("\n"+string(swaps), "\n"+d.Path+" ") {
			uses = append(uses, d.Path+" as swap")
		}
		holders, _ := os.ReadDir(m.path(filepath.Join("sys/class/block", d.Name, "holders")))
		for _, h := range holders {
			uses = append(uses, d.Path+" by "+h.Name())
		}
	}
	return uses
}
