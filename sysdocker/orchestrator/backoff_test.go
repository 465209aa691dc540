package orchestrator

import (
	"fmt"
	"testing"
	"time"
)

func TestPausesGrowToALimit(t *testing.T) {
	tr := backoff{pauses: servicePauses()}
	var last time.Duration
	for range 20 {
		pause, _ := tr.next(errEnded)
		if pause < last {
			t.Errorf("pause %s after %s", pause, last)
		}
		last = pause
	}
	if last != lastPause {
		t.Errorf("pause grows to %s; want %s", last, lastPause)
	}
	tr.calm()
	if pause, _ := tr.next(errEnded); pause != firstPause {
		t.Errorf("pause after a calm time = %s; want %s", pause, firstPause)
	}
}

func TestImageIsReplacedOnlyOnce(t *testing.T) {
	tr := backoff{pauses: servicePauses()}
	replaced := 0
	for range 20 {
		if _, opts := tr.next(fmt.Errorf("%w: no such image", errStart)); opts.ReplaceImage {
			replaced++
		}
	}
	if replaced != 1 {
		t.Errorf("image replaced %d times; want once", replaced)
	}
}
