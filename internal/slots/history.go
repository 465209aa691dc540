package slots

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
)

// An Outcome is what became of a system.
type Outcome string

// The outcomes.
const (
	Tried      Outcome = "on trial"    // it starts at the next boot
	Good       Outcome = "good"        // its trial went well
	Failed     Outcome = "failed"      // and the machine returned
	RolledBack Outcome = "rolled back" // somebody chose it
)

// An Event is a line of the history.
type Event struct {
	Time    time.Time      `json:"time"`
	Outcome Outcome        `json:"outcome"`
	Slot    bootstate.Slot `json:"slot"`
	// Version is the system's, From the one's that ran before.
	Version string `json:"version"`
	From    string `json:"from,omitempty"`
	// Trial is its number.
	Trial uint64 `json:"trial,omitempty"`
	Cause string `json:"cause,omitempty"`
}

// A History is the file of what became of the machine's systems, one JSON object
// a line.
type History string

// Add adds an event.
func (h History) Add(e Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(string(h)), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(string(h), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// Read returns the events, the last one last. A line that was cut off is left
// out.
func (h History) Read() ([]Event, error) {
	f, err := os.Open(string(h))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var events []Event
	in := bufio.NewScanner(f)
	for in.Scan() {
		var e Event
		if json.Unmarshal(in.Bytes(), &e) == nil {
			events = append(events, e)
		}
	}
	return events, in.Err()
}

// Last returns the last event.
func (h History) Last() (Event, error) {
	events, err := h.Read()
	if len(events) == 0 {
		return Event{}, err
	}
	return events[len(events)-1], err
}
