package network

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/oslog"
)

// HookMain runs the program network-hook.
func HookMain([]string) int {
	log := oslog.New("network")
	env := make(map[string]string)
	for _, kv := range os.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	h := hook{newPublisher(log)}
	if err := h.run(env); err != nil {
		log.Error("hook", "reason", env["reason"], "interface", env["interface"], "err", err)
		return 1
	}
	return 0
}

// A hook handles one event.
type hook struct{ *publisher }

func (h hook) run(env map[string]string) error {
	change := changeOf(env)
	if change == nothing {
		return nil
	}
	var err error
	file := filepath.Join(h.dir, env["interface"]+"."+env["protocol"]+".json")
	switch change {
	case noLink:
		if h.plugged() {
			return nil
		}
		// Nothing to wait for; a link that comes up later is still served.
		return h.markReady("no link has a carrier")
	case gone:
		err = os.Remove(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	case known:
		var changed bool
		f := factsOf(env)
		changed, err = writeFacts(file, f)
		if changed {
			h.log.Info("configured", "interface", env["interface"], "protocol", env["protocol"], "nameservers", f.Nameservers)
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(h.publish(), h.markReady(""))
}

// A change is what an event means to us.
type change int

const (
	nothing change = iota
	known          // a protocol has configured its interface
	gone           // it has taken that back
	noLink         // the interface has no carrier
)

// changeOf sorts dhcpcd's reasons.
func changeOf(env map[string]string) change {
	if env["interface"] == "" || strings.ContainsAny(env["interface"]+env["protocol"], "/\x00") {
		return nothing
	}
	switch {
	case env["reason"] == "NOCARRIER":
		return noLink
	case env["protocol"] == "" || env["protocol"] == "link":
		return nothing
	case env["if_up"] == "true":
		return known
	case env["if_down"] == "true":
		return gone
	}
	return nothing
}

// writeFacts reports whether the facts are other than before: routers repeat
// theirs every few minutes.
func writeFacts(file string, f Facts) (changed bool, err error) {
	raw, err := json.Marshal(f)
	if err != nil {
		return false, fmt.Errorf("encode facts: %w", err)
	}
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, raw) {
		return false, nil
	}
	return true, renameio.WriteFile(file, raw, 0o644)
}
