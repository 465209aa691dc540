// Package bootlog records what a boot did and when. Every program that takes
// part appends finished steps to one file, one JSON object per line; the
// report for people and scripts is made from these lines. It does not decide
// what is a step.
package bootlog

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Step is one finished part of the boot.
type Step struct {
	// Name is "<phase>/<step>", for example "init/mount-root".
	Name string `json:"name"`
	// Start and End are seconds since the kernel started.
	Start float64 `json:"start"`
	End   float64 `json:"end"`
	// Error is the cause when the step failed.
	Error string `json:"error,omitempty"`
}

// A Report is the content of /run/bulkhead/boot.json. All times are seconds
// since the kernel started; zero means not reached yet.
type Report struct {
	Version      string  `json:"version"`
	Kernel       string  `json:"kernel"`
	SystemDocker float64 `json:"system_docker"`
	UserDocker   float64 `json:"user_docker"`
	Ready        float64 `json:"ready"`
	Steps        []Step  `json:"steps"`
}

// NewReport makes the report of what a file of steps has, in the order in which
// they began, and of this moment. With an error it is what could be read.
func NewReport(file string) (Report, error) {
	r := Report{Ready: Now()}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	f, err := os.Open(file)
	if err != nil {
		return r, err
	}
	defer f.Close()
	r.Steps, err = Read(f)
	slices.SortStableFunc(r.Steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), strings.Compare(a.Name, b.Name))
	})
	return r, err
}

// Line is the last line of a boot on the consoles.
func (r Report) Line() string {
	user := "not ready"
	if r.UserDocker > 0 {
		user = fmt.Sprintf("%.1f s", r.UserDocker)
	}
	return fmt.Sprintf("bulkhead: ready in %.1f s (system docker %.1f s, user docker %s)", r.Ready, r.SystemDocker, user)
}

// Now returns the seconds since the kernel started, suspend included.
func Now() float64 {
	var ts unix.Timespec
	// CLOCK_BOOTTIME always exists on the kernels we run on.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return float64(ts.Sec) + float64(ts.Nsec)/1e9
}

// Since makes the step that started at start (from Now) and ends now.
func Since(name string, start float64, err error) Step {
	s := Step{Name: name, Start: start, End: Now()}
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

// Append adds a step to the file at path, which is made if it is missing. One
// write call per step keeps lines of different programs whole.
func Append(path string, s Step) error {
	line, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode boot step %s: %w", s.Name, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// A Recorder runs the steps of one program.
type Recorder struct {
	Log *slog.Logger
	// File is what steps are appended to, Phase the first part of their names.
	File, Phase string
}

// Run runs a step and records it. An error is logged, too.
func (r Recorder) Run(name string, do func() error) error {
	start := Now()
	err := do()
	r.Record(name, start, err)
	return err
}

// Record records a step that began at start (from Now) and ends now.
func (r Recorder) Record(name string, start float64, err error) {
	s := Since(r.Phase+"/"+name, start, err)
	if err != nil {
		r.Log.Error(s.Name, "err", err)
	}
	if err := Append(r.File, s); err != nil {
		r.Log.Warn("record boot step", "step", s.Name, "err", err)
	}
}

// Read returns the steps of a file that Append wrote.
func Read(r io.Reader) ([]Step, error) {
	var steps []Step
	in := bufio.NewScanner(r)
	for in.Scan() {
		var s Step
		if err := json.Unmarshal(in.Bytes(), &s); err != nil {
			return steps, fmt.Errorf("boot step %d: %w", len(steps)+1, err)
		}
		steps = append(steps, s)
	}
	return steps, in.Err()
}
