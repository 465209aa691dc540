package idle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRests(t *testing.T) {
	const mb = 1 << 20
	tests := []struct {
		name   string
		totals []uint64
		want   []bool
	}{
		{"start, work, rest", []uint64{20 * mb, 50 * mb, 50 * mb, 50 * mb}, []bool{false, false, true, false}},
		{"health checks at rest", []uint64{20 * mb, 20*mb + mb/2, 21 * mb, 21*mb + mb/2}, []bool{false, true, false, false}},
		{"little work", []uint64{4 * mb, 4 * mb, 4 * mb}, []bool{false, false, false}},
		{"work again", []uint64{20 * mb, 20 * mb, 40 * mb, 41 * mb}, []bool{false, true, false, true}},
		{"never at rest", []uint64{10 * mb, 20 * mb, 30 * mb}, []bool{false, false, false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w watch
			var got []bool
			for _, total := range tt.totals {
				got = append(got, w.rests(total))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAllocatedGrows(t *testing.T) {
	before := allocated()
	sink := make([]byte, 1<<20)
	if got := allocated() - before; got < uint64(len(sink)) {
		t.Errorf("allocated grew by %d; want at least %d", got, len(sink))
	}
}
