package userdocker

import (
	"bytes"
	"context"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// A swarm knows neither live-restore nor nftables, and who asks for one types
// "docker swarm init" first. So the daemon gets the settings that suit a swarm
// once it has refused one for its settings, or is in one, and has its usual
// settings back when it is in none. Containers run on through both changes: while
// the firewall's backend changes live-restore is on.
type swarmMode int

const (
	noSwarm swarmMode = iota
	// swarmComes and swarmGoes: iptables, with live-restore as usual.
	swarmComes
	swarmGoes
	// swarmFits: iptables without live-restore.
	swarmFits
)

// swarmPatience is how long the settings suit a swarm that nobody makes.
const swarmPatience = 10 * time.Minute

// A swarmEar hears of a swarm that the daemon refuses.
type swarmEar struct{ e *engine }

// Write takes a line of the daemon's log.
func (s swarmEar) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(layout.SwarmRefused)) {
		s.e.mu.Lock()
		defer s.e.mu.Unlock()
		s.e.swarmAsked = time.Now()
	}
	return len(line), nil
}

// inSwarm reports whether a daemon with this data is in a swarm.
func inSwarm(dataRoot string) bool {
	return exists(filepath.Join(dataRoot, "swarm", "docker-state.json"))
}

// next returns the mode that follows, in a swarm or not. asked: somebody has just
// asked for one. idle: the daemon runs as the mode has it.
func (m swarmMode) next(in, asked, idle bool) swarmMode {
	wanted := in || asked
	switch m {
	case noSwarm:
		if wanted {
			return swarmComes
		}
	case swarmComes:
		if idle {
			return swarmFits
		}
	case swarmFits:
		if !wanted && idle {
			return swarmGoes
		}
	case swarmGoes:
		switch {
		case wanted:
			return swarmComes
		case idle:
			return noSwarm
		}
	}
	return m
}

// followSwarm has the daemon's settings follow whether there is a swarm. It
// reports whether the daemon has to be restarted for them.
func (e *engine) followSwarm() (restart bool) {
	e.mu.Lock()
	before, asked := e.swarm, time.Since(e.swarmAsked) < swarmPatience
	e.mu.Unlock()
	in := inSwarm(e.current().DataRoot())
	mode := before.next(in, asked, e.runsAsAsked())
	if mode == before {
		return false
	}
	e.mu.Lock()
	e.swarm = mode
	if in || mode == noSwarm {
		e.swarmAsked = time.Time{} // what was asked for is there, or over
	}
	e.mu.Unlock()
	e.log.Info("settings follow the swarm", "swarm", in, "asked", asked)
	if mode == swarmComes || mode == noSwarm {
		return true
	}
	err := e.reload()
	if err == nil && mode == swarmGoes {
		err = e.api.awaitLiveRestore(context.Background(), e.current().LiveRestore(), reloadLimit)
	}
	if err != nil {
		e.log.Error("settings do not follow the swarm", "err", err)
	}
	return false
}

// suit changes settings so that they suit a swarm in this mode. Those of the
// user's file that do not suit are named.
func (m swarmMode) suit(s Settings) Settings {
	if m == noSwarm {
		return s
	}
	change := map[string]any{"firewall-backend": "iptables"}
	if m == swarmFits {
		change["live-restore"] = false
	}
	s.values = maps.Clone(s.values)
	for _, key := range slices.Sorted(maps.Keys(change)) {
		if v, is := s.own[key]; is && v != change[key] {
			s.Problems = append(s.Problems, layout.UserDaemonConfig+": "+key+": left out: a swarm does not go with it; docker swarm leave brings it back")
		}
		s.values[key] = change[key]
	}
	return s
}
