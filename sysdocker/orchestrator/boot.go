package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/version"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// step records one finished step of the boot.
func (m *machine) step(s bootlog.Step) {
	if m.over {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case s.Error != "":
	case s.Name == "system-docker/api":
		m.systemDocker = s.End
	case s.Name == "user-docker/api":
		m.userDocker = s.End
	}
	if err := bootlog.Append(m.events, s); err != nil {
		m.log.Error("boot step is not recorded", "step", s.Name, "err", err)
	}
}

// settled records that a service is ready, or late because of err.
func (m *machine) settled(w plan.Want, began float64, err error) {
	step := bootlog.Since("services/"+w.Name, began, err)
	m.step(step)
	if w.Engine() {
		m.step(bootlog.Since("user-docker/api", began, err))
	}
	if err != nil {
		m.log.Error("service failed", "service", w.Name, "err", err)
		m.announce(kmsg.Failure(step.Name, err, "system-docker logs "+w.Name))
		return
	}
	m.log.Info("service ready", "service", w.Name, "took", fmt.Sprintf("%.1fs", step.End-step.Start))
}

// recovered takes back the complaint about a service that was late.
func (m *machine) recovered(w plan.Want) {
	m.log.Info("late service ready", "service", w.Name)
	m.announce(fmt.Sprintf("bulkhead: services/%s is ready after all, at %.1f s", w.Name, bootlog.Now()))
}

// booted writes the report and says on the consoles that the machine is ready.
func (m *machine) booted(imagesLoaded int) {
	// What the boot needed is not needed any more.
	defer debug.FreeOSMemory()
	if m.afterBoot != nil {
		m.afterBoot()
	}
	m.log.Info("boot finished", "images_loaded", imagesLoaded)
	if m.over {
		return
	}
	report, err := bootlog.NewReport(m.events)
	if err != nil {
		m.log.Warn("boot report is incomplete", "err", err)
	}
	m.mu.Lock()
	report.Version, report.SystemDocker, report.UserDocker = version.Version, m.systemDocker, m.userDocker
	m.mu.Unlock()
	text, err := json.MarshalIndent(report, "", "  ")
	if err == nil {
		err = renameio.WriteFile(m.report, append(text, '\n'), 0o644)
	}
	if err != nil {
		m.log.Error("no boot report", "err", err)
	}
	m.over = true
	m.tellOfNetwork()
	m.announce(report.Line())
}

// tellOfNetwork says on the consoles which part of the configuration has no
// effect on the machine's network cards: without a network they are all there is.
func (m *machine) tellOfNetwork() {
	text, err := os.ReadFile(layout.NetworkProblems)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("problems of the network are not shown", "err", err)
	}
	for line := range strings.Lines(string(text)) {
		m.announce("bulkhead: network: " + strings.TrimSpace(line))
	}
}
