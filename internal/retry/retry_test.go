package retry

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoff(t *testing.T) {
	b := Backoff{First: time.Second, Last: 5 * time.Second, Calm: time.Minute}
	for i, step := range []struct{ lasted, want time.Duration }{
		{0, time.Second}, {0, 2 * time.Second}, {59 * time.Second, 4 * time.Second}, {0, 5 * time.Second}, {0, 5 * time.Second},
		{time.Minute, time.Second}, {0, 2 * time.Second},
	} {
		if got := b.After(step.lasted); got != step.want {
			t.Errorf("pause %d, after %v: %v; want %v", i, step.lasted, got, step.want)
		}
	}
	b.Reset()
	if got := b.Next(); got != b.First {
		t.Errorf("pause after Reset: %v; want %v", got, b.First)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := Sleep(t.Context(), time.Hour); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sleep past the end of its context: %v", err)
		}
	})
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hurry := make(chan struct{})
		began := time.Now()
		var starts []time.Duration
		var runs []Run
		k := Keeper{
			Backoff: Backoff{First: time.Second, Last: time.Minute, Calm: 10 * time.Second},
			Hurry:   hurry,
			Once: func(ctx context.Context) error {
				starts = append(starts, time.Since(began))
				switch len(starts) {
				case 3: // a good run
					return Sleep(ctx, 10*time.Second)
				case 6: // runs until it is stopped
					return Sleep(ctx, time.Hour)
				}
				return errors.New("broken")
			},
			Ended: func(r Run) {
				runs = append(runs, r)
				if len(runs) == 5 {
					go func() { hurry <- struct{}{} }()
				}
			},
		}
		time.AfterFunc(time.Minute, cancel)
		k.Keep(ctx)
		// Pauses of 1, 2, 1 and 2 s; the last one is cut short.
		want := []time.Duration{0, 1, 3, 14, 16, 16}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(starts, want) {
			t.Errorf("starts at %v; want %v", starts, want)
		}
		if len(runs) != 5 || runs[2].Lasted != 10*time.Second || runs[2].Err != nil || runs[4].Pause != 4*time.Second {
			t.Errorf("ended runs: %+v", runs)
		}
		if got := time.Since(began); got != time.Minute {
			t.Errorf("Keep returned after %v; want it with its context", got)
		}
	})
}
