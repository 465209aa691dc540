package orchestrator

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

func TestBootReport(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	r := &machine{
		events:   filepath.Join(dir, "boot.jsonl"),
		report:   filepath.Join(dir, "boot.json"),
		announce: func(line string) { lines = append(lines, line) },
		log:      slog.New(slog.DiscardHandler),
	}
	if err := bootlog.Append(r.events, bootlog.Step{Name: "init/mount-root", Start: 0.5, End: 0.7}); err != nil {
		t.Fatal(err)
	}
	docker := plan.Want{Name: "docker", Decl: images.Service{Ready: &images.Ready{Docker: "/run/docker.sock"}}}
	r.settled(docker, 1, nil)
	r.step(bootlog.Step{Name: "system-docker/api", Start: 0.8, End: 0.9})
	r.settled(plan.Want{Name: "ntp"}, 2, errors.New("not ready after 1m0s"))
	r.booted(0)
	r.booted(0) // a second time changes nothing

	text, err := os.ReadFile(r.report)
	if err != nil {
		t.Fatal(err)
	}
	var report bootlog.Report
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range report.Steps {
		names = append(names, s.Name)
	}
	want := []string{"init/mount-root", "system-docker/api", "services/docker", "user-docker/api", "services/ntp"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("steps differ:\n%s", diff)
	}
	if report.SystemDocker != 0.9 || report.UserDocker == 0 || report.Ready < report.UserDocker {
		t.Errorf("times of the report: %+v", report)
	}
	if len(lines) != 2 ||
		lines[0] != `bulkhead: FAILED step=services/ntp cause="not ready after 1m0s" remedy="system-docker logs ntp"` ||
		!strings.HasPrefix(lines[1], "bulkhead: ready in ") {
		t.Errorf("console lines: %q", lines)
	}
}

func TestReportLine(t *testing.T) {
	got := bootlog.Report{SystemDocker: 3.14, UserDocker: 9.99, Ready: 12.04}.Line()
	const want = "bulkhead: ready in 12.0 s (system docker 3.1 s, user docker 10.0 s)"
	if got != want {
		t.Errorf("Line() = %q; want %q", got, want)
	}
}
