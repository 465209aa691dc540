package conffile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// A ProblemFile lists the problems of the running configuration for people, one
// line for each. Programs read the same list as JSON, in a second file.
type ProblemFile string

func (f ProblemFile) values() string { return string(f) + ".json" }

// Write replaces the list. No problem leaves no file.
func (f ProblemFile) Write(problems []osconfig.Problem) error {
	for _, name := range []string{string(f), f.values()} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.Add(problems...)
}

// Add appends to the list. Several programs may do so at the same time.
func (f ProblemFile) Add(problems ...osconfig.Problem) error {
	var text, values bytes.Buffer
	encoder := json.NewEncoder(&values)
	for _, p := range problems {
		fmt.Fprintln(&text, p)
		if err := encoder.Encode(p); err != nil {
			return err
		}
	}
	return errors.Join(add(string(f), text.Bytes()), add(f.values(), values.Bytes()))
}

func add(name string, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// Read returns the list, and what can be read of it if there is an error.
func (f ProblemFile) Read() (problems []osconfig.Problem, err error) {
	text, err := os.ReadFile(f.values())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for in := json.NewDecoder(bytes.NewReader(text)); in.More(); {
		var p osconfig.Problem
		if err := in.Decode(&p); err != nil {
			return problems, fmt.Errorf("%s: %w", f.values(), err)
		}
		problems = append(problems, p)
	}
	return problems, nil
}
