package orchestrator

import (
	"testing"
	"time"
)

func TestPausesGrowToALimit(t *testing.T) {
	var tr trouble
	var last time.Duration
	for range 20 {
		pause, _ := tr.next(ended)
		if pause < last {
			t.Errorf("pause %s after %s", pause, last)
		}
		last = pause
	}
	if last != lastPause {
		t.Errorf("pause grows to %s; want %s", last, lastPause)
	}
	tr.calm()
	if pause, _ := tr.next(ended); pause != firstPause {
		t.Errorf("pause after a calm time = %s; want %s", pause, firstPause)
	}
}

func TestImageIsReplacedOnlyOnce(t *testing.T) {
	var tr trouble
	replaced := 0
	for range 20 {
		if _, opts := tr.next(failedStart); opts.ReplaceImage {
			replaced++
		}
	}
	if replaced != 1 {
		t.Errorf("image replaced %d times; want once", replaced)
	}
}
