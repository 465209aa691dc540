// Package uevent reads what the kernel's device model says: devices, links and
// modules that come and go (kobject_uevent.c).
package uevent

import (
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// An Event is one message.
type Event struct {
	Action    string
	Subsystem string
	Modalias  string
	// Name is the last part of the device's path: an interface, a module.
	Name string
}

// parse reads a message: "add@/devices/…" and then KEY=value fields, each ended
// by a zero byte.
func parse(msg string) Event {
	var e Event
	for field := range strings.SplitSeq(msg, "\x00") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "ACTION":
			e.Action = value
		case "SUBSYSTEM":
			e.Subsystem = value
		case "MODALIAS":
			e.Modalias = value
		case "DEVPATH":
			e.Name = path.Base(value)
		}
	}
	return e
}

// buffer is the size of the socket's receive buffer in bytes: enough for the
// events of a machine with hundreds of devices while a driver starts.
const buffer = 4 << 20

// Open subscribes to all events of the network namespace. Closing the file ends
// a Read.
func Open() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open the uevent socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer)
	const kernelGroup = 1
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind the uevent socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "uevents"), nil
}

// Read waits for the next event of a file that Open returned.
func Read(f *os.File) (Event, error) {
	// UEVENT_BUFFER_SIZE is 2048, plus the header line.
	buf := make([]byte, 8192)
	n, err := f.Read(buf)
	if err != nil {
		return Event{}, err
	}
	return parse(string(buf[:n])), nil
}
