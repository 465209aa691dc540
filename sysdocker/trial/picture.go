// Package trial judges a system that runs for the first time after an upgrade. It
// compares the machine with what it was before; a system that is not as good in
// time gives way to the previous one.
package trial

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// A Picture is what of a machine an upgrade must not break.
type Picture struct {
	// Services are the OS services and Containers those of user Docker that it
	// starts by itself: what is wrong with each, and nothing if it is well.
	Services   map[string]string `json:"services"`
	Containers map[string]string `json:"containers"`
	// SystemDocker and UserDocker are why they do not answer, if they do not.
	SystemDocker string `json:"system_docker,omitempty"`
	UserDocker   string `json:"user_docker,omitempty"`
	// Online: there is a way out of the machine.
	Online bool `json:"online"`
}

// A daemon is the part of a Docker daemon that is looked at.
type daemon interface {
	Containers(ctx context.Context, label string) ([]dockerapi.Container, error)
	ComesBack(ctx context.Context, id string) (bool, error)
}

// askLimit is how long a daemon may take to answer.
const askLimit = 20 * time.Second

// Look takes a picture. routes are the directory of the kernel's tables.
func Look(ctx context.Context, system, user daemon, routes fs.FS) Picture {
	p := Picture{Services: make(map[string]string), Containers: make(map[string]string), Online: online(routes)}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	services, err := system.Containers(ctx, plan.LabelService)
	if err != nil {
		p.SystemDocker = err.Error()
	}
	for _, c := range services {
		if plan.ServiceOf(c) != "" {
			p.Services[c.Name] = trouble(c)
		}
	}
	containers, err := user.Containers(ctx, "")
	for _, c := range containers {
		comes, inspectErr := user.ComesBack(ctx, c.ID)
		if dockerapi.IsNotFound(inspectErr) {
			continue
		}
		if inspectErr != nil {
			err = inspectErr
		}
		if comes {
			p.Containers[c.Name] = trouble(c)
		}
	}
	if err != nil {
		p.UserDocker = err.Error()
	}
	return p
}

// trouble says what is wrong with a container.
func trouble(c dockerapi.Container) string {
	switch {
	case c.State != dockerapi.Running:
		return string(c.State)
	case c.Health == dockerapi.Healthy, c.Health == noCheck:
		return ""
	}
	return c.Health
}

// noCheck is the health of a container that has no check.
const noCheck = "none"

// online reports whether there is a default route: see proc_pid_net(5) for route;
// the columns of ipv6_route are destination, its length, and at the end the device.
func online(tables fs.FS) bool {
	return anyLine(tables, "route", func(f []string) bool {
		return len(f) > 7 && f[1] == "00000000" && f[7] == "00000000"
	}) || anyLine(tables, "ipv6_route", func(f []string) bool {
		// The kernel keeps one on lo that leads nowhere.
		return len(f) == 10 && strings.Trim(f[0]+f[1], "0") == "" && f[9] != "lo"
	})
}

func anyLine(tables fs.FS, file string, is func(fields []string) bool) bool {
	text, err := fs.ReadFile(tables, file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if is(strings.Fields(line)) {
			return true
		}
	}
	return false
}

// Missing says what of an earlier picture is not as good now. declared are the
// services that this version has.
func (before Picture) Missing(now Picture, declared []string) []string {
	var missing []string
	if now.SystemDocker != "" {
		missing = append(missing, "system Docker does not answer: "+now.SystemDocker)
	}
	if before.UserDocker == "" && now.UserDocker != "" {
		missing = append(missing, "user Docker does not answer: "+now.UserDocker)
	}
	compare := func(kind string, before, now map[string]string, expected func(name string) bool) {
		for _, name := range slices.Sorted(maps.Keys(before)) {
			if before[name] != "" || !expected(name) {
				continue
			}
			switch state, there := now[name]; {
			case !there:
				missing = append(missing, fmt.Sprintf("%s %s is not there", kind, name))
			case state != "":
				missing = append(missing, fmt.Sprintf("%s %s is %s", kind, name, state))
			}
		}
	}
	if now.SystemDocker == "" {
		compare("service", before.Services, now.Services, func(name string) bool {
			_, there := now.Services[name]
			return there || slices.Contains(declared, name)
		})
	}
	if now.UserDocker == "" {
		compare("container", before.Containers, now.Containers, func(string) bool { return true })
	}
	if before.Online && !now.Online {
		missing = append(missing, "the machine has no way out any more: no default route")
	}
	return missing
}

// Before is what an upgrade leaves for the system on trial.
type Before struct {
	Trial   uint64 `json:"trial"`
	Version string `json:"version"`
	Picture
}

// Save writes it to a file.
func (b Before) Save(file string) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return partition.WriteFile(file, text, 0o600)
}

// Load reads the picture that belongs to a trial. Without it, as when the state
// was full, all services have to be well.
func Load(file string, trial uint64) (b Before, found bool) {
	text, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(text, &b) != nil || b.Trial != trial {
		return Before{}, false
	}
	return b, true
}

// expectation is what is asked of a system when nothing earlier is known.
func expectation(now Picture) Picture {
	p := Picture{Services: maps.Clone(now.Services)}
	for name := range p.Services {
		p.Services[name] = ""
	}
	return p
}
