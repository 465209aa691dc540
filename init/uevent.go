package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/uevent"
)

func (l *linux) Subscribe() (err error) {
	if l.events == nil {
		l.events, err = uevent.Open()
	}
	return err
}

func (l *linux) NextEvent(deadline time.Time) (uevent.Event, error) {
	if err := l.events.SetReadDeadline(deadline); err != nil {
		return uevent.Event{}, err
	}
	return uevent.Read(l.events)
}

func (*linux) Modaliases() ([]string, error) {
	files, err := filepath.Glob("/sys/bus/*/devices/*/modalias")
	if err != nil {
		return nil, err
	}
	var aliases []string
	for _, file := range files {
		// A device may have gone meanwhile.
		if b, err := os.ReadFile(file); err == nil && len(b) > 1 {
			aliases = append(aliases, strings.TrimSpace(string(b)))
		}
	}
	return aliases, nil
}
