package budget

import (
	"strings"
	"testing"
	"time"
)

func TestReportShowsFiguresAndRatios(t *testing.T) {
	r := Report{
		ISOBytes: 96_400_000,
		Ours: Figures{Ready: 12 * time.Second, SystemReady: 4 * time.Second, MemoryKB: 200 << 10,
			Configuration: Configuration{Sample: 9 * time.Millisecond, HostSample: time.Millisecond, Boot: 250 * time.Millisecond}},
		Peer: Figures{Ready: 24 * time.Second, MemoryKB: 250 << 10},
	}
	got := r.String()
	for _, row := range []string{"| ISO, MB | 96.4 |", "| 12.0 | 24.0 | 0.50 |", "| 200 | 250 | 0.80 |", "| 9.0 (1.0) | – |", "| 0.25 | – |"} {
		if !strings.Contains(got, row) {
			t.Errorf("no %q in\n%s", row, got)
		}
	}
}
