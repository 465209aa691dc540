package console

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"
)

// A ledger remembers which start commands have run that need not run again. A
// command is known by its text: when that changes, it is another one.
type ledger struct {
	path string
	// Instance is the platform's name for the machine. A disk that becomes
	// another machine's has another one.
	Instance string `json:"instance"`
	// InInstance and Ever are the sums of what has run.
	InInstance []string `json:"in_instance,omitempty"`
	Ever       []string `json:"ever,omitempty"`
}

// openLedger reads the ledger for an instance. What other instances ran is
// forgotten.
func openLedger(path, instance string) (*ledger, error) {
	l := &ledger{path: path}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	if err == nil {
		if err := json.Unmarshal(text, l); err != nil {
			return l, fmt.Errorf("%s: %w", path, err)
		}
	}
	if l.Instance != instance {
		l.Instance, l.InInstance = instance, nil
	}
	return l, nil
}

// A rate is how often a command runs.
type rate int

const (
	eachBoot rate = iota
	oncePerInstance
	onceEver
)

// claim reports whether a command is to run now, and writes down that it ran.
// That comes first: a command that restarts the machine must not do so again.
func (l *ledger) claim(r rate, command []byte) (bool, error) {
	if r == eachBoot {
		return true, nil
	}
	sum := sha256.Sum256(command)
	id := hex.EncodeToString(sum[:])
	list := &l.InInstance
	if r == onceEver {
		list = &l.Ever
	}
	if slices.Contains(*list, id) {
		return false, nil
	}
	*list = append(*list, id)
	text, err := json.Marshal(l)
	if err != nil {
		return true, fmt.Errorf("encode %s: %w", l.path, err)
	}
	return true, renameio.WriteFile(l.path, text, 0o600, renameio.WithTempDir(filepath.Dir(l.path)))
}
