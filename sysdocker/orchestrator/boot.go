package orchestrator

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/version"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// recorder writes down how the boot went. Once the report of a boot exists, as
// for an orchestrator that was started again, it only logs.
type recorder struct {
	events, report string // paths
	announce       func(line string)
	log            *slog.Logger
	over           bool

	mu           sync.Mutex // guards what follows
	systemDocker float64
	userDocker   float64
}

func newRecorder(log *slog.Logger) *recorder {
	_, err := os.Stat(layout.BootReport)
	return &recorder{
		events:   layout.BootEvents,
		report:   layout.BootReport,
		announce: func(line string) { announce(log, line) },
		log:      log,
		over:     err == nil,
	}
}

// step records one finished step of the boot.
func (r *recorder) step(s bootlog.Step) {
	if r.over {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case s.Error != "":
	case s.Name == "system-docker/api":
		r.systemDocker = s.End
	case s.Name == "user-docker/api":
		r.userDocker = s.End
	}
	if err := bootlog.Append(r.events, s); err != nil {
		r.log.Error("boot step is not recorded", "step", s.Name, "error", err)
	}
}

// settled records that a service is ready, or late because of err.
func (r *recorder) settled(s plan.Service, began float64, err error) {
	step := bootlog.Since("services/"+s.Name, began, err)
	r.step(step)
	if s.Engine() {
		r.step(bootlog.Since("user-docker/api", began, err))
	}
	if err != nil {
		r.log.Error("service failed", "service", s.Name, "error", err)
		r.announce(kmsg.Failure(step.Name, err, "system-docker logs "+s.Name))
		return
	}
	r.log.Info("service ready", "service", s.Name, "took", fmt.Sprintf("%.1fs", step.End-step.Start))
}

// recovered takes back the complaint about a service that was late.
func (r *recorder) recovered(s plan.Service) {
	r.log.Info("late service ready", "service", s.Name)
	r.announce(fmt.Sprintf("bulkhead: services/%s is ready after all, at %.1f s", s.Name, bootlog.Now()))
}

// finish writes the report and tells the consoles that the machine is ready.
func (r *recorder) finish(imagesLoaded int) {
	r.log.Info("boot finished", "images_loaded", imagesLoaded)
	if r.over {
		return
	}
	report, err := r.compose()
	if err != nil {
		r.log.Warn("boot report is incomplete", "error", err)
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err == nil {
		err = renameio.WriteFile(r.report, append(text, '\n'), 0o644)
	}
	if err != nil {
		r.log.Error("no boot report", "error", err)
	}
	r.over = true
	r.announce(readyLine(report))
}

// compose makes the report. With an error it is what could be read.
func (r *recorder) compose() (bootlog.Report, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := bootlog.Report{
		Version:      version.Version,
		Kernel:       kernelRelease(),
		SystemDocker: r.systemDocker,
		UserDocker:   r.userDocker,
		Ready:        bootlog.Now(),
	}
	f, err := os.Open(r.events)
	if err != nil {
		return report, err
	}
	defer f.Close()
	steps, err := bootlog.Read(f)
	slices.SortStableFunc(steps, func(a, b bootlog.Step) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	report.Steps = steps
	return report, err
}

// readyLine is the last line of a boot on the consoles.
func readyLine(r bootlog.Report) string {
	user := "not ready"
	if r.UserDocker > 0 {
		user = fmt.Sprintf("%.1f s", r.UserDocker)
	}
	return fmt.Sprintf("bulkhead: ready in %.1f s (system docker %.1f s, user docker %s)", r.Ready, r.SystemDocker, user)
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
