package install

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// A Wish is an installation that a configuration asks for (rancher.install).
type Wish struct {
	// Device is a disk, or Auto.
	Device string `json:"device"`
	// Force is the serial number or the GUID of a disk that may be overwritten.
	Force string `json:"force"`
	Args  string `json:"args"`
	// ID, if given, is what ID returns.
	Given string `json:"id"`
}

// Auto stands for the only disk.
const Auto = "auto"

// ID names an installation: a disk that has it is not installed to again.
func (w Wish) ID() string {
	if w.Given != "" {
		return w.Given
	}
	text, err := json.Marshal(w)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Find returns the disk that a wish is about.
func (w Wish) Find(m Machine) (Disk, error) {
	if w.Device != Auto {
		return m.Look(w.Device)
	}
	disks, err := m.Disks()
	if err != nil {
		return Disk{}, err
	}
	for _, d := range disks {
		if d.Installed == w.ID() {
			return d, nil
		}
	}
	return Only(disks)
}

// Judge reports whether a disk is installed to without anybody being asked. Done
// means that it was already.
func (w Wish) Judge(d Disk) (done bool, err error) {
	if d.Installed == w.ID() {
		return true, nil
	}
	if err := d.Refusal(); err != nil {
		return false, err
	}
	if !d.Blank() && !d.Named(w.Force) {
		name := d.Serial
		if name == "" {
			name = d.GUID
		}
		hint := "clear its first MiB"
		if name != "" {
			hint = fmt.Sprintf("set rancher.install.force to %s", name)
		}
		return false, fmt.Errorf("%s is not empty (%s); to overwrite it, %s", d.Path, d.summary(), hint)
	}
	return false, nil
}

func (d Disk) summary() string {
	if len(d.Content) == 0 {
		return "it has a partition table"
	}
	return d.Content[0].Device + ": " + d.Content[0].String()
}
