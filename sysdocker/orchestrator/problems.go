package orchestrator

import (
	"encoding/json"
	"log/slog"
	"maps"
	"sync"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

// problems keeps a file with what keeps services from running.
type problems struct {
	file string
	log  *slog.Logger

	mu  sync.Mutex
	now control.Problems
}

func newProblems(file string, log *slog.Logger) *problems {
	return &problems{file: file, log: log, now: control.Problems{OS: map[string]string{}, Configured: map[string]string{}}}
}

// ofOS notes what is wrong with an OS service, nil for nothing.
func (p *problems) ofOS(service string, err error) {
	p.change(func(now *control.Problems) { note(now.OS, service, err) })
}

// ofConfigured is the same for a service of the configuration.
func (p *problems) ofConfigured(service string, err error) {
	p.change(func(now *control.Problems) { note(now.Configured, service, err) })
}

// reset replaces all problems with services of the configuration.
func (p *problems) reset(configured map[string]error) {
	p.change(func(now *control.Problems) {
		clear(now.Configured)
		for service, err := range configured {
			note(now.Configured, service, err)
		}
	})
}

func note(m map[string]string, service string, err error) {
	if err == nil {
		delete(m, service)
		return
	}
	m[service] = err.Error()
}

func (p *problems) change(change func(*control.Problems)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := control.Problems{OS: maps.Clone(p.now.OS), Configured: maps.Clone(p.now.Configured)}
	change(&p.now)
	if maps.Equal(before.OS, p.now.OS) && maps.Equal(before.Configured, p.now.Configured) {
		return
	}
	text, err := json.Marshal(p.now)
	if err == nil {
		err = renameio.WriteFile(p.file, text, 0o600)
	}
	if err != nil {
		p.log.Warn("problems of services are not told", "error", err)
	}
}
