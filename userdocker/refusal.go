package userdocker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// lastGoodConfig is a copy of the user's file that a daemon has answered with.
const lastGoodConfig = dataRoot + "/daemon.json.last-good"

const (
	// failuresAllowed is how often a daemon may end without an answer before its
	// file is suspected. The first time may have any cause.
	failuresAllowed = 1
	// validateLimit is how long dockerd --validate may take.
	validateLimit = time.Minute
)

// A refusal is what the daemon has said about a user's file.
type refusal struct {
	file string
	// keys are refused, each for a reason. With whole, a reason too, the entire
	// file is.
	keys     map[string]string
	whole    string
	failures int
}

// usable returns the part of the user's file that the daemon runs with, and why
// the rest is left out. lastGood is an earlier file, or nil.
func (r refusal) usable(file, lastGood []byte) (rest []byte, problems []string) {
	own, err := parse(file)
	switch {
	case err != nil && lastGood != nil:
		return lastGood, []string{fmt.Sprintf("%s: %v: the last good file counts, %s", layout.UserDaemonConfig, err, lastGoodConfig)}
	case err != nil || r.file != string(file):
		return file, nil
	case r.whole != "":
		return lastGood, []string{fmt.Sprintf("%s: left out as a whole: the daemon does not start with it: %s", layout.UserDaemonConfig, r.whole)}
	}
	for _, key := range slices.Sorted(maps.Keys(r.keys)) {
		delete(own, key)
		problems = append(problems, fmt.Sprintf("%s: %s: left out: %s", layout.UserDaemonConfig, key, r.keys[key]))
	}
	if problems == nil {
		return file, nil
	}
	rest, err = json.Marshal(own)
	if err != nil {
		return lastGood, append(problems, err.Error())
	}
	return rest, problems
}

// judge finds out whether the user's file keeps the daemon from starting. If so,
// the next run leaves the refused part out.
func (e *engine) judge(lastWords string) bool {
	e.mu.Lock()
	file, r := e.settings.file, e.refusal
	e.mu.Unlock()
	own, err := parse([]byte(file))
	if err != nil || len(own) == 0 {
		return false
	}
	if r.file != file {
		r = refusal{file: file}
	}
	cause, refused := strings.CutPrefix(lastWords, configRefused)
	switch r.failures++; {
	case refused && r.keys == nil:
		r.keys = e.sift(own)
	case r.failures > failuresAllowed && r.whole == "":
		r.whole = cause
	}
	e.mu.Lock()
	e.refusal = r
	e.mu.Unlock()
	return len(r.keys) > 0 || r.whole != ""
}

// sift tries each setting alone and returns those that the daemon refuses.
func (e *engine) sift(own map[string]any) map[string]string {
	refused := make(map[string]string)
	if e.validate(nil) != nil {
		return refused // it is not the user's
	}
	for _, key := range slices.Sorted(maps.Keys(own)) {
		if err := e.validate(map[string]any{key: own[key]}); err != nil {
			refused[key] = err.Error()
		}
	}
	return refused
}

// validate lets the daemon check these settings on top of the built-in ones.
func (e *engine) validate(own map[string]any) error {
	raw, err := json.Marshal(own)
	if err != nil {
		return err
	}
	s, err := Merge(raw, nil, readOnDisk)
	if err != nil {
		return err
	}
	if raw, err = e.flavour.of(s).JSON(); err != nil {
		return err
	}
	file := layout.UserRunDir + "/daemon.json.tried"
	if err := renameio.WriteFile(file, raw, 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	ctx, cancel := context.WithTimeout(context.Background(), validateLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "dockerd", "--validate", "--config-file", file).CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	_, cause, found := strings.Cut(lines[len(lines)-1], "with file "+file+": ")
	if !found {
		cause = lines[len(lines)-1]
	}
	return errors.New(cause)
}

// readUsable reads the user's file and returns its usable part.
func (e *engine) readUsable() (file, rest []byte, problems []string, err error) {
	file, err = os.ReadFile(layout.UserDaemonConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, err
	}
	lastGood, err := os.ReadFile(lastGoodConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.log.Warn("cannot read the last good file", "err", err)
	}
	e.mu.Lock()
	r := e.refusal
	e.mu.Unlock()
	rest, problems = r.usable(file, lastGood)
	return file, rest, problems, nil
}

// keepGood keeps a copy of a file with which the daemon answers.
func (e *engine) keepGood(s Settings) {
	if s.file == "" || s.fallback {
		return
	}
	if old, err := os.ReadFile(lastGoodConfig); err == nil && string(old) == s.file {
		return
	}
	if err := renameio.WriteFile(lastGoodConfig, []byte(s.file), 0o600); err != nil {
		e.log.Warn("cannot keep a copy of a good file", "err", err)
	}
}

// tell shows what has been left out: on the consoles once, and at login and in ros
// status until it changes.
func (e *engine) tell(problems []string) {
	e.mu.Lock()
	fresh := slices.DeleteFunc(slices.Clone(problems), func(p string) bool { return slices.Contains(e.told, p) })
	e.told = problems
	e.mu.Unlock()
	for _, p := range fresh {
		e.log.Warn("a setting has no effect", "problem", p)
		if err := kmsg.Announce("bulkhead: " + p); err != nil {
			e.log.Warn("line did not reach the consoles", "err", err)
		}
	}
	err := os.Remove(layout.UserProblems)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if len(problems) > 0 {
		err = renameio.WriteFile(layout.UserProblems, []byte(strings.Join(problems, "\n")+"\n"), 0o644)
	}
	if err != nil {
		e.log.Warn("problems are not shown at login", "err", err)
	}
}

// corrected reports whether the user's file has changed since a part of it was
// left out. It then takes effect at once.
func (e *engine) corrected() bool {
	s := e.current()
	if len(s.Problems) == 0 {
		return false
	}
	file, err := os.ReadFile(layout.UserDaemonConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || string(file) == s.file || string(file) == e.seen {
		return false
	}
	e.seen = string(file)
	return true
}
