package orchestrator

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSlots(t *testing.T) {
	ts := &slots{free: 2}
	type slot struct {
		granted  <-chan struct{}
		giveBack func()
	}
	var asked []slot
	for _, priority := range []int{5, 1, 1, 3, 2, 3} {
		granted, giveBack := ts.ask(priority)
		asked = append(asked, slot{granted, giveBack})
	}
	granted := func() []int {
		var list []int
		for i, a := range asked {
			select {
			case <-a.granted:
				list = append(list, i)
			default:
			}
		}
		return list
	}
	expect := func(what string, want ...int) {
		t.Helper()
		if diff := cmp.Diff(want, granted()); diff != "" {
			t.Errorf("%s: granted differ:\n%s", what, diff)
		}
	}
	expect("two are free", 0, 1)
	asked[0].giveBack()
	expect("the most urgent comes next", 0, 1, 3)
	asked[1].giveBack()
	expect("of equals, the first that asked", 0, 1, 3, 5) // 5 asked after 3, which had its slot

	asked[4].giveBack()
	asked[3].giveBack()
	expect("who left is passed over", 0, 1, 2, 3, 5)
	asked[2].giveBack()
	asked[5].giveBack()
	if ts.free != 2 || len(ts.queue) != 0 {
		t.Errorf("%d free, %d waiting; want 2 and none", ts.free, len(ts.queue))
	}
}
