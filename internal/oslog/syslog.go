package oslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
)

const (
	// sendTimeout bounds the wait for a syslog daemon that does not read;
	// after one such wait it is left alone for stuckPause.
	sendTimeout = 100 * time.Millisecond
	stuckPause  = 5 * time.Second
	// maxMessage is what rsyslog reads from a datagram by default.
	maxMessage = 8 << 10
)

// syslogHandler sends records to a local syslog socket in the form of RFC 3164
// without host name, the one that imuxsock reads.
type syslogHandler struct {
	// text formats the attributes into out.buf; handlers made by WithAttrs
	// and WithGroup share out.
	text slog.Handler
	out  *syslogSocket
}

// syslogSocket is a datagram socket that is connected when there is something
// to send and connected again when the daemon was replaced.
type syslogSocket struct {
	mu   sync.Mutex
	path string
	tag  string
	buf  bytes.Buffer
	conn net.Conn
	// notBefore is when to try again after the daemon did not read.
	notBefore time.Time
}

func newSyslogHandler(program, socket string) *syslogHandler {
	out := &syslogSocket{path: socket, tag: fmt.Sprintf("%s[%d]", program, os.Getpid())}
	return &syslogHandler{
		out: out,
		text: slog.NewTextHandler(&out.buf, &slog.HandlerOptions{
			// Time and level are in the header.
			ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
					return slog.Attr{}
				}
				return a
			},
		}),
	}
}

func (h *syslogHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *syslogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &syslogHandler{text: h.text.WithAttrs(attrs), out: h.out}
}

func (h *syslogHandler) WithGroup(name string) slog.Handler {
	return &syslogHandler{text: h.text.WithGroup(name), out: h.out}
}

// Handle sends one record. A syslog service that is absent or stuck is no
// error: standard error has the record.
func (h *syslogHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	buf := &h.out.buf
	buf.Reset()
	fmt.Fprintf(buf, "<%d>%s %s: ", kmsg.FacilityDaemon|severity(r.Level), r.Time.Format(time.Stamp), h.out.tag)
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	h.out.send(bytes.TrimRight(buf.Bytes(), "\n"))
	return nil
}

// send tries a kept connection and, if that one is stale, a new one.
func (s *syslogSocket) send(msg []byte) {
	if time.Now().Before(s.notBefore) {
		return
	}
	msg = msg[:min(len(msg), maxMessage)]
	for range 2 {
		if s.conn == nil {
			conn, err := net.Dial("unixgram", s.path)
			if err != nil {
				return
			}
			s.conn = conn
		}
		// SetWriteDeadline fails only on a closed connection, and then Write does too.
		_ = s.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
		_, err := s.conn.Write(msg)
		if err == nil {
			return
		}
		s.conn.Close()
		s.conn = nil
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.notBefore = time.Now().Add(stuckPause)
			return
		}
	}
}

// severity maps slog's levels to syslog's (RFC 5424 §6.2.1).
func severity(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}
