package userdocker

import (
	"os"
	"testing"
)

func TestInodeReserve(t *testing.T) {
	r := newInodeReserve(t.TempDir())
	var free uint64
	r.free = func(string) (uint64, error) { return free, nil }
	for _, step := range []struct {
		name string
		free uint64
		do   func() error
		want int
	}{
		{"little is left", reservedInodes, r.fill, 0},
		{"plenty", plentyInodes, r.fill, reservedInodes},
		{"some are left at the next start", reservedInodes, r.release, reservedInodes},
		{"none is left at the next start", 0, r.release, 0},
		{"there is still little", reservedInodes, r.fill, 0},
		{"plenty again", plentyInodes, r.fill, reservedInodes},
	} {
		free = step.free
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		files, err := os.ReadDir(r.dir)
		if len(files) != step.want || err != nil && !os.IsNotExist(err) {
			t.Errorf("%s: the reserve has %d files, %v; want %d", step.name, len(files), err, step.want)
		}
	}
}
