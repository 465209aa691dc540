package upkeep

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestUpkeepTrimsEachWeek(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	trims := 0
	u := upkeep{
		log:      slog.New(slog.DiscardHandler),
		lastTime: filepath.Join(dir, "time"), lastTrim: filepath.Join(dir, "trim"),
		now:  func() time.Time { return now },
		trim: func(context.Context) error { trims++; return nil },
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{
		{0, 0}, // a new state
		{6 * 24 * time.Hour, 0},
		{24 * time.Hour, 1},
		{time.Hour, 1},
		{6*24*time.Hour + 22*time.Hour, 1},
		{time.Hour, 2},
	} {
		now = now.Add(tt.after)
		u.look(t.Context())
		if trims != tt.want {
			t.Errorf("on %v: %d times; want %d", now, trims, tt.want)
		}
		info, err := os.Stat(u.lastTime)
		if err != nil || !info.ModTime().Equal(now) {
			t.Errorf("last known time %v, %v; want %v", info.ModTime(), err, now)
		}
	}
}
