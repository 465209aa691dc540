package power

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SigSchedule tells PID 1 that the file of the schedule has changed.
const SigSchedule = sigRTMin + 10

// A Schedule is an end of the machine that is still to come. PID 1 keeps to it:
// the session of who asked for it may be over.
type Schedule struct {
	Action Action `json:"action"`
	// At is when, by the machine's clock. Uptime is the same in seconds since the
	// kernel started, and counts unless it is 0: a clock may be set meanwhile.
	At     time.Time `json:"at"`
	Uptime float64   `json:"uptime,omitempty"`
	// Message is part of the notice, which Silent suppresses.
	Message string `json:"message,omitempty"`
	Silent  bool   `json:"silent,omitempty"`
}

// Left returns how long it is until then.
func (s Schedule) Left(now time.Time, uptime float64) time.Duration {
	if s.Uptime != 0 {
		return time.Duration((s.Uptime - uptime) * float64(time.Second))
	}
	return s.At.Sub(now.Round(0)) // by the clock, which may have been set
}

// When is the time as notices show it.
func (s Schedule) When() string { return s.At.Format("Mon 2006-01-02 15:04:05 MST") }

// Notice is what terminals show.
func (s Schedule) Notice() string {
	return AsLine(s.Message) + fmt.Sprintf("The machine will %s at %s!", s.Action.Verb(), s.When())
}

// AsLine ends a text with a line break, unless it is empty.
func AsLine(text string) string {
	if text == "" {
		return ""
	}
	return text + "\n"
}

// Verb says what the machine will do.
func (a Action) Verb() string {
	if a == PowerOff {
		return "power off"
	}
	return string(a)
}

// ReadSchedule reads the file of a schedule. Without one there is none.
func ReadSchedule(path string) (*Schedule, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var s Schedule
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return nil, fmt.Errorf("scheduled end: %w", err)
	}
	return &s, nil
}

// Write puts the schedule where PID 1 finds it, in one step.
func (s Schedule) Write(path string) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, raw, 0o644); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// Broadcast shows a text on the terminals of everybody who is logged in over
// SSH or in a terminal multiplexer. dir is /dev/pts, and proc /proc.
func Broadcast(dir, proc, text string) {
	sessions := sessions(proc)
	terminals, _ := filepath.Glob(filepath.Join(dir, "[0-9]*")) // the pattern is good
	text = "\r\n\a" + strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"
	for _, path := range terminals {
		// One that does not take it, or has gone, is passed over.
		f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && sessions[uint64(info.Sys().(*syscall.Stat_t).Rdev)] {
			_, _ = f.WriteString(text)
		}
		f.Close()
	}
}

// sessions are the terminals by number that people have sessions on. That of a
// sudo shows what it gets on the terminal below, once more.
func sessions(proc string) map[uint64]bool {
	found := make(map[uint64]bool)
	stats, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "stat")) // the pattern is good
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): PID (COMM) STATE PPID PGRP SESSION TTY …
		end := max(bytes.LastIndexByte(raw, ')'), 0)
		number, comm, _ := strings.Cut(string(raw[:end]), " (")
		var state string
		var ppid, pgrp, session, tty int64
		if _, err := fmt.Sscan(string(raw[min(end+1, len(raw)):]), &state, &ppid, &pgrp, &session, &tty); err != nil || tty == 0 {
			continue
		}
		if fmt.Sprint(session) == number && comm != "sudo" {
			found[uint64(tty)] = true
		}
	}
	return found
}
