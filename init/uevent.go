package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An event is a message of the kernel's device model; see kobject_uevent.c.
type event struct {
	action    string
	subsystem string
	modalias  string
}

// parseEvent reads a message: "add@/devices/…" and then KEY=value fields, each
// ended by a zero byte.
func parseEvent(msg string) event {
	var e event
	for field := range strings.SplitSeq(msg, "\x00") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "ACTION":
			e.action = value
		case "SUBSYSTEM":
			e.subsystem = value
		case "MODALIAS":
			e.modalias = value
		}
	}
	return e
}

// eventBuffer is the size of the socket's receive buffer in bytes: enough for
// the events of a machine with hundreds of devices while a driver starts.
const eventBuffer = 4 << 20

func (l *linux) Subscribe() error {
	if l.events != nil {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("open the uevent socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer)
	const kernelGroup = 1
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("bind the uevent socket: %w", err)
	}
	l.events = os.NewFile(uintptr(fd), "uevents")
	return nil
}

func (l *linux) NextEvent(deadline time.Time) (event, error) {
	if err := l.events.SetReadDeadline(deadline); err != nil {
		return event{}, err
	}
	// UEVENT_BUFFER_SIZE is 2048, plus the header line.
	buf := make([]byte, 8192)
	n, err := l.events.Read(buf)
	if err != nil {
		return event{}, err
	}
	return parseEvent(string(buf[:n])), nil
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
