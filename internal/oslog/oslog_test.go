package oslog

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func listen(t *testing.T, path string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatalf("listen on %s: %v", path, err)
	}
	return conn
}

func receive(t *testing.T, conn net.PacketConn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	n, _, err := conn.ReadFrom(buf)
	if err != nil {
		t.Fatalf("read from %s: %v", conn.LocalAddr(), err)
	}
	return string(buf[:n])
}

func TestSyslogMessage(t *testing.T) {
	tests := []struct {
		name string
		log  func(*slog.Logger)
		want string
	}{
		{"info", func(l *slog.Logger) { l.Info("started", "port", 22) }, `^<30>\w{3} [ \d]\d \d\d:\d\d:\d\d prog\[\d+\]: msg=started port=22$`},
		{"warning", func(l *slog.Logger) { l.Warn("slow") }, `^<28>.*: msg=slow$`},
		{"error with cause", func(l *slog.Logger) { l.Error("stopped", "err", errors.New("no room")) }, `^<27>.*: msg=stopped err="no room"$`},
		{"attributes and groups", func(l *slog.Logger) { l.With("a", 1).WithGroup("g").Info("m", "time", 2) }, `: msg=m a=1 g\.time=2$`},
		{"line feeds are escaped", func(l *slog.Logger) { l.Info("a\nb") }, `: msg="a\\nb"$`},
		{"long messages are cut", func(l *slog.Logger) { l.Info(strings.Repeat("x", 2*maxMessage)) }, `^<30>.*: msg=x+$`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			conn := listen(t, path)
			defer conn.Close()
			tt.log(newLogger(&bytes.Buffer{}, "prog", path))
			got := receive(t, conn)
			if len(got) > maxMessage {
				t.Errorf("message has %d bytes; want at most %d", len(got), maxMessage)
			}
			if !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("message %q; want match of %s", got, tt.want)
			}
		})
	}
}

// The syslog service starts after many programs and is replaced under them.
func TestReconnect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var stderr bytes.Buffer
	log := newLogger(&stderr, "prog", path)
	log.Info("nobody listens")

	for _, msg := range []string{"first", "second"} {
		conn := listen(t, path)
		log.Info(msg)
		if got := receive(t, conn); !strings.HasSuffix(got, "msg="+msg) {
			t.Errorf("message %q; want suffix msg=%s", got, msg)
		}
		conn.Close()
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if got := strings.Count(stderr.String(), "\n"); got != 3 {
		t.Errorf("standard error has %d records; want 3:\n%s", got, stderr.String())
	}
}

// A syslog daemon that does not read must not hold up the program.
func TestStuckReceiver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn := listen(t, path)
	defer conn.Close()
	log := newLogger(&bytes.Buffer{}, "prog", path)
	start := time.Now()
	for range 1000 {
		log.Info("full", "fill", strings.Repeat("x", 1000))
	}
	// If each waited, they would take a thousand times the limit.
	if d := time.Since(start); d > 200*sendTimeout {
		t.Errorf("1000 records took %v with a receiver that does not read: each waits", d)
	}
}
