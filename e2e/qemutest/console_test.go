package qemutest

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConsoleKeepsCleanLines(t *testing.T) {
	tests := []struct {
		name   string
		chunks []string
		want   []string
	}{
		{"lines over chunks", []string{"one\r\ntw", "o\r\n"}, []string{"one", "two"}},
		{"unfinished line", []string{"done\nlogin: "}, []string{"done", "login:"}},
		{"colours", []string{"\x1b[1;32mok\x1b[0m\r\n"}, []string{"ok"}},
		{"a painted screen", []string{"\x1b[2J\x1b[01;01H\x1b[=3hMenu\x1b[05;03HBooting\x1b[06;01H\r\n"}, []string{"Booting"}},
		{"nothing", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewConsole(nil)
			for _, chunk := range tt.chunks {
				if _, err := c.Write([]byte(chunk)); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tt.want, c.Since(0)); diff != "" {
				t.Errorf("lines differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConsoleWait(t *testing.T) {
	ready := regexp.MustCompile(`ready in ([\d.]+) s`)
	t.Run("finds an earlier line", func(t *testing.T) {
		c := NewConsole(nil)
		_, _ = c.Write([]byte("a\nready in 1.5 s\nb\n"))
		m, err := c.Wait(t.Context(), 0, ready)
		if err != nil || m[1] != "1.5" {
			t.Errorf("Wait = %q, %v; want 1.5", m, err)
		}
	})
	t.Run("finds a later line, after the mark only", func(t *testing.T) {
		c := NewConsole(nil)
		_, _ = c.Write([]byte("ready in 1.5 s\n"))
		mark := c.Mark()
		go func() { _, _ = c.Write([]byte("ready in 2.5 s\n")) }()
		m, err := c.Wait(t.Context(), mark, ready)
		if err != nil || m[1] != "2.5" {
			t.Errorf("Wait = %q, %v; want 2.5", m, err)
		}
	})
	t.Run("ends with the context", func(t *testing.T) {
		cause := errors.New("the cause")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, cause)
		defer cancel()
		if _, err := NewConsole(nil).Wait(ctx, 0, ready); !errors.Is(err, cause) {
			t.Errorf("Wait error = %v; want one with the context's cause", err)
		}
	})
}

func TestScan(t *testing.T) {
	bad := []string{
		"[    1.2] Kernel panic - not syncing: Attempted to kill init!",
		"[    1.2] Oops: 0000 [#1] PREEMPT SMP",
		"[    1.2] WARNING: CPU: 1 PID: 77 at net/core/dev.c:1 foo+0x1",
		"[    9.9] EXT4-fs error (device vda): ext4_lookup:1",
		"panic: runtime error: index out of range",
		"fatal error: all goroutines are asleep - deadlock!",
		"[   40.1] Out of memory: Killed process 512 (dockerd)",
		`time="2026-11-24" level=fatal msg="no"`,
		"[ 12.0] dockerd[1]: segfault at 0 ip 00",
		"bulkhead: FAILED step=mount-state cause=no remedy=none",
	}
	for _, line := range bad {
		if err := scan(line, nil); err == nil {
			t.Errorf("scan(%q) = nil; want trouble", line)
		}
		if err := scan(line, []*regexp.Regexp{regexp.MustCompile(`.`)}); err != nil {
			t.Errorf("scan(%q) with everything allowed = %v; want nil", line, err)
		}
	}
	good := []string{
		"[    0.0] Command line: console=ttyS0 panic=10",
		"[    3.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
		`time="2026-11-24" level=error msg="stream copy error"`,
		"bulkhead: ready in 14.2 s (system docker 4.0 s, user docker 12.9 s)",
	}
	for _, line := range good {
		if err := scan(line, nil); err != nil {
			t.Errorf("scan(%q) = %v; want nil", line, err)
		}
	}
}
