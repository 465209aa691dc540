package console

import "testing"

func TestProcessesOf(t *testing.T) {
	for threads, want := range map[uint64]uint64{3500: 437, 15000: 1875, 250000: 4096} {
		if got := processesOf(threads); got != want {
			t.Errorf("of %d threads an account may have %d; want %d", threads, got, want)
		}
	}
}
