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

// flavourFile is where the image of an engine that is not like the shipped one
// says what it needs.
const flavourFile = "/usr/lib/bulkhead/engine.json"

// A flavour is what an engine of another age needs to be told in another way.
// The zero flavour is the shipped engine's.
type flavour struct {
	// Containerd is the version of containerd's configuration file, 2 for
	// containerd 1.x; 0 for that of the shipped one.
	Containerd int `json:"containerd_config"`
	// Settings are merged into the daemon's, whoever set those; null takes out
	// one that the daemon does not know (RFC 7396).
	Settings map[string]any `json:"settings"`
}

// readFlavour reads the file of the engine's image, which need not be there.
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

// of returns the settings as the engine of this flavour knows them.
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
