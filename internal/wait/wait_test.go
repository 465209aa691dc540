package wait

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// after holds once some time has passed.
type after struct{ at time.Time }

func (a after) String() string { return "the right time" }

func (a after) Check(context.Context) error {
	if time.Now().Before(a.at) {
		return errors.New("too early")
	}
	return nil
}

func TestUntilReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []time.Duration
		err := For(t.Context(), time.Minute, after{time.Now().Add(25 * time.Second)}, func(waited time.Duration, last error) {
			reports = append(reports, waited.Truncate(time.Second))
			if last == nil {
				t.Error("report without the last check's error")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(reports) != 2 || reports[0] != 10*time.Second || reports[1] != 20*time.Second {
			t.Errorf("reports at %v; want after 10 s and 20 s", reports)
		}
	})
}

func TestForSaysWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := For(t.Context(), 3*time.Second, after{time.Now().Add(time.Hour)}, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("For() = %v; want the context's error", err)
		}
		const want = "the right time: not there after 3s: too early"
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("For() = %v; want %s…", err, want)
		}
	})
}

func TestConditions(t *testing.T) {
	dir := t.TempDir()
	stream, datagram := filepath.Join(dir, "s"), filepath.Join(dir, "d")
	l, err := net.Listen("unix", stream)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pc, err := net.ListenPacket("unixgram", datagram)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	api, sick := filepath.Join(dir, "api"), filepath.Join(dir, "sick")
	servePing(t, api, http.StatusOK)
	servePing(t, sick, http.StatusInternalServerError)

	tests := []struct {
		condition Condition
		holds     bool
	}{
		{File(dir), true},
		{File(filepath.Join(dir, "none")), false},
		{Socket(stream), true},
		{Socket(datagram), true},
		{Socket(filepath.Join(dir, "none")), false},
		{DockerAPI(api), true},
		{DockerAPI(sick), false},
		{DockerAPI(filepath.Join(dir, "none")), false},
	}
	for _, tt := range tests {
		if err := tt.condition.Check(t.Context()); (err == nil) != tt.holds {
			t.Errorf("%s: %v; want it to hold: %v", tt.condition, err, tt.holds)
		}
	}
}

func servePing(t *testing.T, path string, status int) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}
