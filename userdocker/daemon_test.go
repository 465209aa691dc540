package userdocker

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/milestone"
)

func TestDiagnose(t *testing.T) {
	exit := errors.New("exit status 1")
	for _, tt := range []struct {
		name, words string
		err         error
		step, cause string
	}{
		{"mistake in the file", "", &ConfigError{errors.New("line 3: invalid character")},
			"user-docker/config", "/etc/docker/daemon.json: line 3: invalid character"},
		{"mistake that the daemon found", "unable to configure the Docker daemon with file /run/user-docker/daemon.json: the following directives don't match any configuration option: foo", exit,
			"user-docker/config", "/etc/docker/daemon.json: the following directives don't match any configuration option: foo"},
		{"daemon gives up", "failed to start daemon: no", exit, "user-docker/dockerd", "exit status 1: failed to start daemon: no"},
		{"daemon says nothing", "", exit, "user-docker/dockerd", "exit status 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := diagnose(tt.err, tt.words)
			if f.step != tt.step || f.cause.Error() != tt.cause {
				t.Errorf("diagnose = %s, %q; want %s, %q", f.step, f.cause, tt.step, tt.cause)
			}
		})
	}
}

func TestGoingDown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shutdown")
	if goingDown(milestone.Milestone(file), 30*time.Millisecond) {
		t.Error("goingDown without the file: true")
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = os.WriteFile(file, nil, 0o644) })
	if !goingDown(milestone.Milestone(file), 10*time.Second) {
		t.Error("goingDown with the file in time: false")
	}
}
