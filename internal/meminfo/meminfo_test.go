package meminfo

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const text = "MemTotal:        2014300 kB\nMemFree:         1000000 kB\nMemAvailable:    1500000 kB\nSwapTotal:             8 kB\nHugePages_Total:       0\n"
	got, err := Parse(text)
	if want := (Info{Total: 2014300 << 10, Available: 1500000 << 10, SwapTotal: 8 << 10}); err != nil || got != want {
		t.Errorf("Parse = %+v, %v; want %+v", got, err, want)
	}
	for _, broken := range []string{"", "MemFree: 1 kB\n", strings.Replace(text, "2014300", "many", 1)} {
		if got, err := Parse(broken); err == nil {
			t.Errorf("Parse(%q) = %+v; want an error", broken, got)
		}
	}
}
