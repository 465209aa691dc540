package exporter

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMetrics(t *testing.T) {
	proc := t.TempDir()
	for name, text := range map[string]string{
		"meminfo":   "MemTotal:  2048 kB\nActive(anon):  4 kB\nHugePages_Total:  0\n",
		"loadavg":   "0.50 1.25 2.00 1/80 99\n",
		"stat":      "cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 100 2 3 4 5 6 7 8 0 0\nctxt 77\nbtime 1700000000\n",
		"net/dev":   "Inter-| Receive\n face |bytes\n  eth0: 10 11 12 13 0 0 0 0 20 21 22 0 0 0 0 0\n",
		"diskstats": "   7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n 254 0 vda 1 2 4 4 5 6 8 8 9 2500 11\n",
	} {
		file := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	sources{proc: proc, state: proc}.ServeHTTP(w, nil)
	got := w.Body.String()
	for _, want := range []string{
		"# TYPE node_memory_MemTotal_bytes gauge\nnode_memory_MemTotal_bytes 2.097152e+06\n",
		"node_memory_Active_anon_bytes 4096\n",
		"node_load5 1.25\n",
		"node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1\n",
		"node_boot_time_seconds 1.7e+09\n",
		"node_network_transmit_bytes_total{device=\"eth0\"} 20\n",
		"node_disk_read_bytes_total{device=\"vda\"} 2048\n",
		"node_disk_io_time_seconds_total{device=\"vda\"} 2.5\n",
		"node_filesystem_size_bytes{mountpoint=\"/state\"} ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Count(got, "# TYPE node_cpu_seconds_total") != 1 || strings.Contains(got, "loop0") {
		t.Errorf("metrics of one name are apart, or loop devices are told:\n%s", got)
	}
}

func TestWhatCannotBeReadIsLeftOut(t *testing.T) {
	list, errs := sources{proc: t.TempDir(), state: t.TempDir()}.collect()
	if len(errs) != 5 || len(list) != 4 {
		t.Errorf("%d figures, errors %v; want 4 of the file system, and 5 errors", len(list), errs)
	}
}
