// Package meminfo reads /proc/meminfo. What follows from the figures is up to
// those who ask.
package meminfo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// File is the kernel's file.
const File = "/proc/meminfo"

// Info is in bytes.
type Info struct{ Total, Available, SwapTotal int64 }

var errNoTotal = errors.New("meminfo: no MemTotal")

// Parse reads the text of the file. Without MemTotal it is an error.
func Parse(text string) (Info, error) {
	var m Info
	into := map[string]*int64{"MemTotal:": &m.Total, "MemAvailable:": &m.Available, "SwapTotal:": &m.SwapTotal}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || into[fields[0]] == nil {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return m, fmt.Errorf("meminfo: %s %w", fields[0], err)
		}
		*into[fields[0]] = kib << 10
	}
	if m.Total == 0 {
		return m, errNoTotal
	}
	return m, nil
}
