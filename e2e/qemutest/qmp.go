package qemutest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// An Event is something QEMU reports by itself, for example SHUTDOWN.
// https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
type Event struct {
	Name string `json:"event"`
	Data struct {
		// Guest is true when the guest caused it, false for the host.
		Guest bool `json:"guest"`
		// Reason is "guest-shutdown", "guest-reset", "host-qmp-quit", …
		Reason string `json:"reason"`
	} `json:"data"`
}

// A Monitor is a connection to QEMU's machine protocol.
type Monitor struct {
	conn net.Conn

	call sync.Mutex // one command at a time
	out  chan reply

	mu      sync.Mutex
	events  []Event
	ended   bool
	changed chan struct{}
}

type reply struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// errMonitorEnd means that QEMU is gone.
var errMonitorEnd = errors.New("monitor connection ended")

// DialMonitor connects to a monitor socket and leaves the negotiation mode.
func DialMonitor(ctx context.Context, path string) (*Monitor, error) {
	conn, err := dialUnix(ctx, path)
	if err != nil {
		return nil, err
	}
	m := newMonitor(conn)
	if err := m.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

// DialAgent connects to the guest agent of a machine, which speaks the same
// protocol without a negotiation.
// https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
func DialAgent(ctx context.Context, dir string) (*Monitor, error) {
	conn, err := dialUnix(ctx, filepath.Join(dir, agentSocket))
	if err != nil {
		return nil, err
	}
	return newMonitor(conn), nil
}

func newMonitor(conn net.Conn) *Monitor {
	m := &Monitor{conn: conn, out: make(chan reply, 1), changed: make(chan struct{})}
	go m.read(conn)
	return m
}

// Close ends the connection; QEMU goes on.
func (m *Monitor) Close() error { return m.conn.Close() }

func (m *Monitor) read(r io.Reader) {
	in := json.NewDecoder(r)
	for {
		var message struct {
			Event
			reply
		}
		if in.Decode(&message) != nil {
			break
		}
		switch {
		case message.Name != "":
			m.mu.Lock()
			m.events = append(m.events, message.Event)
			m.announce()
			m.mu.Unlock()
		case message.Return != nil || message.Error != nil:
			m.out <- message.reply
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	m.announce()
	close(m.out)
}

// announce wakes all waiters; m.mu is held.
func (m *Monitor) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Execute runs one command. arguments and result may be nil.
func (m *Monitor) Execute(ctx context.Context, command string, arguments, result any) error {
	m.call.Lock()
	defer m.call.Unlock()
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}
	select {
	case <-ctx.Done():
		// The answer would be taken for that of the next command.
		m.conn.Close()
		return fmt.Errorf("QMP %s: %w", command, context.Cause(ctx))
	case r, ok := <-m.out:
		if !ok {
			return fmt.Errorf("QMP %s: %w", command, errMonitorEnd)
		}
		if r.Error != nil {
			return fmt.Errorf("QMP %s: %s: %s", command, r.Error.Class, r.Error.Desc)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Return, result)
	}
}

// human runs a command of the monitor for people; a few things, port
// forwarding among them, exist only there.
func (m *Monitor) human(ctx context.Context, line string) (string, error) {
	var out string
	err := m.Execute(ctx, "human-monitor-command", map[string]string{"command-line": line}, &out)
	return out, err
}

// Mark returns the number of events so far, from which a later Wait can start.
func (m *Monitor) Mark() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.events)
}

// Wait returns the first event from mark on that has one of the names.
func (m *Monitor) Wait(ctx context.Context, mark int, names ...string) (Event, error) {
	for {
		m.mu.Lock()
		events, ended, changed := m.events[min(mark, len(m.events)):], m.ended, m.changed
		m.mu.Unlock()
		for _, e := range events {
			if slices.Contains(names, e.Name) {
				return e, nil
			}
		}
		if ended {
			return Event{}, fmt.Errorf("event %v: %w", names, errMonitorEnd)
		}
		select {
		case <-ctx.Done():
			return Event{}, fmt.Errorf("event %v: %w", names, context.Cause(ctx))
		case <-changed:
		}
	}
}

// save stops the processors and writes the state of the machine, but not of its
// disks, to a file. https://www.qemu.org/docs/master/devel/migration/main.html
func (m *Monitor) save(ctx context.Context, path string) error {
	if err := m.Execute(ctx, "stop", nil, nil); err != nil {
		return err
	}
	// Nothing else wants the disk: the default of 128 MiB/s is for networks.
	if err := m.Execute(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 40}, nil); err != nil {
		return err
	}
	if err := m.Execute(ctx, "migrate", map[string]any{"uri": "file:" + path}, nil); err != nil {
		return err
	}
	return m.awaitMigration(ctx)
}

// load reads what save wrote into a machine that waits for it.
func (m *Monitor) load(ctx context.Context, path string) error {
	if err := m.Execute(ctx, "migrate-incoming", map[string]any{"uri": "file:" + path}, nil); err != nil {
		return err
	}
	return m.awaitMigration(ctx)
}

// awaitMigration waits until a state is written or read.
func (m *Monitor) awaitMigration(ctx context.Context) error {
	for {
		var state struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := m.Execute(ctx, "query-migrate", nil, &state); err != nil {
			return err
		}
		switch state.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("QMP migrate: %s: %s", state.Status, state.Error)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("QMP migrate, %s: %w", state.Status, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// PowerButton presses the ACPI power button.
func (m *Monitor) PowerButton(ctx context.Context) error {
	return m.Execute(ctx, "system_powerdown", nil, nil)
}

// CtrlAltDel presses the three keys.
func (m *Monitor) CtrlAltDel(ctx context.Context) error {
	type key struct {
		Type string `json:"type"`
		Data string `json:"data"`
	}
	keys := []key{{"qcode", "ctrl"}, {"qcode", "alt"}, {"qcode", "delete"}}
	return m.Execute(ctx, "send-key", map[string]any{"keys": keys}, nil)
}

// Quit ends QEMU without telling the guest.
func (m *Monitor) Quit(ctx context.Context) error {
	err := m.Execute(ctx, "quit", nil, nil)
	if errors.Is(err, errMonitorEnd) {
		return nil
	}
	return err
}
