// Package exporter tells figures of the machine to Prometheus, under the names
// that node_exporter has for them: processors, memory, load, networks, disks
// and the state partition. It keeps nothing and writes nothing.
package exporter

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the unit of /proc/stat, which Linux has fixed (USER_HZ).
const ticksPerSecond = 100

// sectorSize is the unit of /proc/diskstats in bytes, whatever the disk has.
const sectorSize = 512

// sources is where the figures come from.
type sources struct {
	proc  string // /proc
	state string // a directory on the state partition
}

// A metric is one figure with its name and kind.
type metric struct {
	name, kind, labels string
	value              float64
}

// collect reads all figures. What cannot be read is left out and is the error.
func (s sources) collect() ([]metric, []error) {
	var list []metric
	var errs []error
	for _, read := range []func() ([]metric, error){s.memory, s.load, s.processors, s.networks, s.disks, s.fileSystem} {
		some, err := read()
		list = append(list, some...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	return list, errs
}

// write writes metrics in Prometheus's text format, in which those of one name
// stand together.
func write(w io.Writer, list []metric) error {
	out := bufio.NewWriter(w)
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	for i, m := range list {
		if i == 0 || list[i-1].name != m.name {
			fmt.Fprintf(out, "# TYPE %s %s\n", m.name, m.kind)
		}
		fmt.Fprintf(out, "%s%s %s\n", m.name, m.labels, strconv.FormatFloat(m.value, 'g', -1, 64))
	}
	return out.Flush()
}

// fields returns the words of each line of a file below /proc.
func (s sources) fields(file string) ([][]string, error) {
	text, err := os.ReadFile(filepath.Join(s.proc, file))
	var lines [][]string
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.Fields(line))
	}
	return lines, err
}

// number is 0 for what is none.
func number(text string) float64 {
	n, _ := strconv.ParseFloat(text, 64)
	return n
}

func (s sources) memory() (list []metric, err error) {
	lines, err := s.fields("meminfo")
	for _, f := range lines {
		if len(f) < 2 {
			continue
		}
		name := strings.NewReplacer("(", "_", ")", "", ":", "").Replace(f[0])
		if len(f) == 3 { // in kB
			list = append(list, metric{"node_memory_" + name + "_bytes", "gauge", "", number(f[1]) * 1024})
		}
	}
	return list, err
}

func (s sources) load() (list []metric, err error) {
	lines, err := s.fields("loadavg")
	if err != nil || len(lines) == 0 || len(lines[0]) < 3 {
		return nil, err
	}
	for i, name := range []string{"node_load1", "node_load5", "node_load15"} {
		list = append(list, metric{name, "gauge", "", number(lines[0][i])})
	}
	return list, nil
}

func (s sources) processors() (list []metric, err error) {
	lines, err := s.fields("stat")
	modes := []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}
	for _, f := range lines {
		switch {
		case len(f) < 2:
		case f[0] == "btime":
			list = append(list, metric{"node_boot_time_seconds", "gauge", "", number(f[1])})
		case f[0] == "ctxt":
			list = append(list, metric{"node_context_switches_total", "counter", "", number(f[1])})
		case strings.HasPrefix(f[0], "cpu") && f[0] != "cpu" && len(f) > len(modes):
			for i, mode := range modes {
				labels := fmt.Sprintf("{cpu=%q,mode=%q}", f[0][3:], mode)
				list = append(list, metric{"node_cpu_seconds_total", "counter", labels, number(f[i+1]) / ticksPerSecond})
			}
		}
	}
	return list, err
}

func (s sources) networks() (list []metric, err error) {
	text, err := os.ReadFile(filepath.Join(s.proc, "net/dev"))
	for line := range strings.Lines(string(text)) {
		name, counts, found := strings.Cut(line, ":")
		f := strings.Fields(counts)
		if !found || len(f) < 11 {
			continue
		}
		labels := fmt.Sprintf("{device=%q}", strings.TrimSpace(name))
		for i, what := range map[int]string{0: "receive_bytes", 1: "receive_packets", 2: "receive_errs", 3: "receive_drop", 8: "transmit_bytes", 9: "transmit_packets", 10: "transmit_errs"} {
			list = append(list, metric{"node_network_" + what + "_total", "counter", labels, number(f[i])})
		}
	}
	return list, err
}

func (s sources) disks() (list []metric, err error) {
	lines, err := s.fields("diskstats")
	for _, f := range lines {
		if len(f) < 14 || strings.HasPrefix(f[2], "loop") || strings.HasPrefix(f[2], "ram") {
			continue
		}
		labels := fmt.Sprintf("{device=%q}", f[2])
		list = append(list,
			metric{"node_disk_reads_completed_total", "counter", labels, number(f[3])},
			metric{"node_disk_read_bytes_total", "counter", labels, number(f[5]) * sectorSize},
			metric{"node_disk_writes_completed_total", "counter", labels, number(f[7])},
			metric{"node_disk_written_bytes_total", "counter", labels, number(f[9]) * sectorSize},
			metric{"node_disk_io_time_seconds_total", "counter", labels, number(f[12]) / 1000},
		)
	}
	return list, err
}

func (s sources) fileSystem() ([]metric, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.state, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", s.state, err)
	}
	const labels = `{mountpoint="/state"}`
	size := func(blocks uint64) float64 { return float64(blocks) * float64(st.Bsize) }
	return []metric{
		{"node_filesystem_size_bytes", "gauge", labels, size(st.Blocks)},
		{"node_filesystem_free_bytes", "gauge", labels, size(st.Bfree)},
		{"node_filesystem_avail_bytes", "gauge", labels, size(st.Bavail)},
		{"node_filesystem_files_free", "gauge", labels, float64(st.Ffree)},
	}, nil
}
