package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Problems say what keeps services from running, by their names.
type Problems struct {
	OS map[string]string `json:"os"`
	// Configured are services of the configuration, and keys of
	// rancher.services_include whose file is not to be had.
	Configured map[string]string `json:"configured"`
}

// ReadProblems reads the problems in a file; there are none without it.
func ReadProblems(file string) (Problems, error) {
	var p Problems
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return p, fmt.Errorf("problems of services: %w", err)
	}
	return p, nil
}
