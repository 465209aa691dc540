package userdocker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// Places inside the docker container; images/docker/service.yml binds them.
const (
	dataRoot         = "/var/lib/docker" // the host's layout.UserDataRoot
	execRoot         = "/run/docker"     // on the host, so that running containers outlive ours
	containerdState  = "/run/containerd" // likewise: containerd fixes the shims' sockets below it
	pidFile          = "/run/docker.pid" // private: a stale number must not meet a stranger
	socketPath       = layout.UserRunDir + "/docker.sock"
	containerdSocket = layout.UserRunDir + "/containerd.sock"
	daemonConfig     = layout.UserRunDir + "/daemon.json"
	containerdConfig = layout.UserRunDir + "/containerd.toml"
)

// hostDirs are the directories that the container shares with the host. The data
// root has to be below one of them.
var hostDirs = append([]string{dataRoot}, layout.SharedDirs()...)

// defaults are the built-in daemon settings. The keys of the user's
// daemon.json replace them one by one.
func defaults() map[string]any {
	return map[string]any{
		"data-root": dataRoot,
		// So the engine's container can be replaced while containers run.
		"live-restore": true,
		// iptables costs a quarter of the boot under emulation (D6).
		"firewall-backend": "nftables",
		"group":            "docker",
		// A container that logs a lot must not fill the disk. The sizes are
		// RancherOS's.
		"log-driver": "json-file",
		"log-opts":   map[string]any{"max-size": "25m", "max-file": "2"},
	}
}

// fixed are settings that the separation of the tiers depends on. With other
// values, the engine's container could not be replaced while containers run, or
// containers would run among the OS services.
func fixed() map[string]any {
	return map[string]any{
		"containerd":    containerdSocket,
		"exec-root":     execRoot,
		"pidfile":       pidFile,
		"cgroup-parent": layout.UserCgroup,
	}
}

// Settings are the daemon's settings: the content of its daemon.json.
type Settings struct {
	values map[string]any
	// Ignored are the keys of the user's file that have no effect.
	Ignored []string
	// Problems say what has been left out, and why.
	Problems []string
	// env is added to the daemon's environment: "NAME=value". wish is what the
	// machine's configuration contributed to values.
	env  []string
	wish map[string]any
	// own is the user's file as it was read.
	own map[string]any
	// file is the user's file. fallback: a part of it is left out.
	file     string
	fallback bool
}

// same reports whether a daemon behaves the same with both settings.
func (s Settings) same(other Settings) bool {
	return reflect.DeepEqual(s.values, other.values) && slices.Equal(s.env, other.env)
}

// A ConfigError is a mistake in the user's daemon.json.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return layout.UserDaemonConfig + ": " + e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// Merge combines the user's daemon.json, which may be empty, with the wish of the
// machine's configuration and the built-in settings. The user's file wins, key by
// key; only listeners are added up. The daemon itself decides whether it accepts
// keys and values. Errors are of type *ConfigError.
func Merge(user []byte, wish map[string]any, look func(dataRoot string) onDisk) (Settings, error) {
	s, err := merge(user, wish, look)
	if err != nil {
		return Settings{}, &ConfigError{err}
	}
	return s, nil
}

func merge(user []byte, wish map[string]any, look func(dataRoot string) onDisk) (Settings, error) {
	own, err := parse(user)
	if err != nil {
		return Settings{}, err
	}
	s := Settings{values: defaults(), own: own}
	has := look(rootOf(own, wish))
	wish, problems := fit("rancher.docker", wish, has)
	own, more := fit(layout.UserDaemonConfig, own, has)
	s.Problems = append(problems, more...)
	// Another log driver has other options, and refuses ours.
	for _, layer := range []map[string]any{wish, own} {
		if layer["log-driver"] != nil || layer["log-opts"] != nil {
			delete(s.values, "log-opts")
		}
		maps.Copy(s.values, layer)
	}
	for key, value := range fixed() {
		if _, ok := own[key]; ok && own[key] != value {
			s.Ignored = append(s.Ignored, key)
		}
		s.values[key] = value
	}
	slices.Sort(s.Ignored)

	hosts, err := hosts(wish["hosts"], own["hosts"])
	if err != nil {
		return Settings{}, err
	}
	s.values["hosts"] = hosts
	return s, nil
}

// rootOf returns the first valid data root of some settings.
func rootOf(layers ...map[string]any) string {
	for _, layer := range layers {
		if root, ok := layer["data-root"].(string); ok && checkDataRoot(root) == nil {
			return root
		}
	}
	return dataRoot
}

// parse reads a JSON object. Errors name the line.
func parse(raw []byte) (map[string]any, error) {
	// Editors on Windows write a byte order mark first.
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	values := make(map[string]any)
	if len(bytes.TrimSpace(raw)) == 0 {
		return values, nil
	}
	err := json.Unmarshal(raw, &values)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("line %d: %w", lineAt(raw, syntax.Offset), err)
	case errors.As(err, &kind):
		return nil, fmt.Errorf("line %d: want a JSON object, not a %s", lineAt(raw, kind.Offset), kind.Value)
	}
	return values, err
}

// lineAt returns the number of the line that the byte before offset is on.
func lineAt(raw []byte, offset int64) int {
	end := min(max(offset-1, 0), int64(len(raw)))
	return 1 + bytes.Count(raw[:end], []byte("\n"))
}

// hosts returns the listeners: the socket that we hand over, which is
// /var/run/docker.sock in the console and in user containers, and the user's own.
func hosts(lists ...any) ([]any, error) {
	all := []any{"fd://"}
	for _, own := range lists {
		more, ok := own.([]any)
		if !ok && own != nil {
			return nil, errors.New("hosts: want a list")
		}
		for _, h := range more {
			name, ok := h.(string)
			if !ok {
				return nil, fmt.Errorf("hosts: %v: want a text such as tcp://0.0.0.0:2376", h)
			}
			switch name {
			case "fd://", "unix://", "unix:///var/run/docker.sock", "unix:///run/docker.sock", "unix://" + socketPath:
				continue
			}
			if !slices.Contains(all, h) {
				all = append(all, h)
			}
		}
	}
	return all, nil
}

// checkDataRoot refuses a data root that would disappear with the container.
func checkDataRoot(v any) error {
	root, ok := v.(string)
	if !ok || !path.IsAbs(root) || path.Clean(root) != root {
		return fmt.Errorf("data-root: %v: want an absolute path", v)
	}
	for _, dir := range hostDirs {
		if root == dataRoot || dir != dataRoot && strings.HasPrefix(root, dir+"/") {
			return nil
		}
	}
	return fmt.Errorf("data-root: %s is no place on the host; take a directory below %s",
		root, strings.Join(hostDirs[1:], ", "))
}

// WithoutLiveRestore returns the same settings for a daemon that stops its
// containers when it stops.
func (s Settings) WithoutLiveRestore() Settings {
	values := maps.Clone(s.values)
	values["live-restore"] = false
	return Settings{values: values}
}

// JSON returns the content of daemon.json.
func (s Settings) JSON() ([]byte, error) {
	raw, err := json.MarshalIndent(s.values, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode daemon settings: %w", err)
	}
	return append(raw, '\n'), nil
}

// LiveRestore reports whether containers keep running while the daemon does not.
func (s Settings) LiveRestore() bool { return s.values["live-restore"] == true }

// NFTables reports whether the daemon uses nftables. It then expects that
// forwarding is on. With iptables it turns forwarding on itself, and closes the
// forward chain at the same time.
func (s Settings) NFTables() bool { return s.values["firewall-backend"] == "nftables" }

// KnowsNFTables reports whether the daemon has an nftables backend.
func (s Settings) KnowsNFTables() bool { return s.values["firewall-backend"] != nil }

// DataRoot is the directory of all data that lasts.
func (s Settings) DataRoot() string { return s.values["data-root"].(string) }

// Group is the name of the group that may use the socket.
func (s Settings) Group() string {
	group, ok := s.values["group"].(string)
	if !ok {
		return "root" // the daemon complains about the value
	}
	return group
}
