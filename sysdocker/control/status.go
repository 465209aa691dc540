package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// A Status says what services do, by their names.
type Status struct {
	// States are what the orchestrator does about OS services.
	States map[string]string `json:"states"`
	// OS is what keeps OS services from running.
	OS map[string]string `json:"os"`
	// Configured is the same for services of the configuration, and for keys of
	// rancher.services_include whose file is missing.
	Configured map[string]string `json:"configured"`
}

// ReadStatus reads the status in a file; it is empty without one.
func ReadStatus(file string) (Status, error) {
	var s Status
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("status of services: %w", err)
	}
	return s, nil
}
