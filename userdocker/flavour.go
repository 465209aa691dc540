package userdocker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
)

// flavourFile, in the image of an engine, says how the engine differs from the
// shipped one.
const flavourFile = "/usr/lib/bulkhead/engine.json"

// A flavour says how an older or newer engine differs from the shipped one, which
// has the zero flavour.
type flavour struct {
	// Containerd is the version of containerd's configuration file: 2 for
	// containerd 1.x, 0 for the shipped one's.
	Containerd int `json:"containerd_config"`
	// Settings are merged into the daemon's and win over all others. null removes a
	// setting that the daemon does not know (RFC 7396).
	Settings map[string]any `json:"settings"`
}

// readFlavour reads the file of the engine's image. It may be missing.
func readFlavour(file string) (flavour, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return flavour{}, nil
	}
	if err != nil {
		return flavour{}, err
	}
	var f flavour
	in := json.NewDecoder(bytes.NewReader(raw))
	in.DisallowUnknownFields()
	if err := in.Decode(&f); err != nil {
		return flavour{}, fmt.Errorf("%s: %w", file, err)
	}
	if f.Containerd != 0 && f.Containerd != 2 {
		return flavour{}, fmt.Errorf("%s: containerd_config: %d; want 2", file, f.Containerd)
	}
	return f, nil
}

// of returns the settings for an engine of this flavour.
func (f flavour) of(s Settings) Settings {
	if f.Settings != nil {
		s.values = patch(s.values, f.Settings)
	}
	return s
}

// patch returns values with a merge patch applied (RFC 7396).
func patch(values, change map[string]any) map[string]any {
	values = maps.Clone(values)
	if values == nil {
		values = make(map[string]any)
	}
	for key, v := range change {
		deeper, isObject := v.(map[string]any)
		switch {
		case v == nil:
			delete(values, key)
		case isObject:
			below, _ := values[key].(map[string]any)
			values[key] = patch(below, deeper)
		default:
			values[key] = v
		}
	}
	return values
}
