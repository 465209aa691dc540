// Package milestone has the points of a boot that one program reaches and
// others wait for. Each is a file in /run, which is empty at the next boot;
// docs/adr/006 says why. What else programs share by file is in package layout.
package milestone

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// A Milestone is the path of a file that exists from the moment it is reached.
// It is a condition to wait for (wait.Condition).
type Milestone string

// Set makes m reached, with a text for those that want to know more than that.
func (m Milestone) Set(text string) error { return os.WriteFile(string(m), []byte(text), 0o644) }

// Claim makes m reached and reports whether it was not. It keeps what happens
// once per boot from happening again when the program that does it restarts.
func (m Milestone) Claim() (first bool, err error) {
	f, err := os.OpenFile(string(m), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// Reached reports whether m is reached.
func (m Milestone) Reached() bool { return m.Check(context.Background()) == nil }

// Clear makes m not reached.
func (m Milestone) Clear() error {
	if err := os.Remove(string(m)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Check returns an error as long as m is not reached.
func (m Milestone) Check(context.Context) error {
	_, err := os.Stat(string(m))
	return err
}

// String names m as something to wait for.
func (m Milestone) String() string { return "file " + string(m) }
