package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// serve answers one request for a file on a port of its own, as TFTP servers
// do, and returns the address for requests. misbehave changes or drops (nil) a
// data packet; it is called with the block and how often it was sent.
func serve(t *testing.T, content []byte, misbehave func(block uint16, times int, packet []byte) []byte) string {
	t.Helper()
	requests := listen(t)
	go func() {
		packet := make([]byte, 600)
		n, client, err := requests.ReadFrom(packet)
		if err != nil {
			return
		}
		answers := listen(t)
		if string(packet[:n]) != "\x00\x01dir/file\x00octet\x00" {
			_, _ = answers.WriteTo([]byte("\x00\x05\x00\x01not found\x00"), client)
			return
		}
		for block := uint16(1); ; block++ {
			start := min(len(content), int(block-1)*blockSize)
			end := min(len(content), start+blockSize)
			data := binary.BigEndian.AppendUint16([]byte{0, opData}, block)
			data = append(data, content[start:end]...)
			for times := 1; ; times++ {
				if p := misbehave(block, times, data); p != nil {
					_, _ = answers.WriteTo(p, client)
				}
				if err := answers.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
					return
				}
				n, _, err := answers.ReadFrom(packet)
				if err == nil && n == 4 && binary.BigEndian.Uint16(packet[2:]) == block {
					break
				}
				if times > 10 {
					return
				}
			}
			if end-start < blockSize {
				return
			}
		}
	}()
	return requests.LocalAddr().String()
}

func listen(t *testing.T) net.PacketConn {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func wellBehaved(_ uint16, _ int, packet []byte) []byte { return packet }

func TestGet(t *testing.T) {
	text := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	lossy := func(_ uint16, times int, packet []byte) []byte {
		if times == 1 {
			return nil
		}
		return packet
	}
	tests := []struct {
		name      string
		file      string
		content   []byte
		misbehave func(uint16, int, []byte) []byte
		wantErr   string
	}{
		{"empty", "dir/file", nil, wellBehaved, ""},
		{"short", "dir/file", []byte("#cloud-config\n"), wellBehaved, ""},
		{"one full block", "dir/file", text(512), wellBehaved, ""},
		{"several blocks", "dir/file", text(2000), wellBehaved, ""},
		{"lost packets", "dir/file", text(600), lossy, ""},
		{"no such file", "other", nil, wellBehaved, ErrNotFound.Error()},
		{"too large", "dir/file", text(5000), wellBehaved, "larger than 4096 bytes"},
		{"refused", "dir/file", nil, func(uint16, int, []byte) []byte { return []byte("\x00\x05\x00\x02no\x00") }, `error 2: "no"`},
		{"large block", "dir/file", nil, func(_ uint16, _ int, p []byte) []byte { return append(p, text(513)...) }, "more than 512"},
		{"garbage first", "dir/file", text(3), func(_ uint16, times int, p []byte) []byte {
			if times == 1 {
				return []byte{9}
			}
			return p
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Get(t.Context(), serve(t, tt.content, tt.misbehave), tt.file, 4096)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error = %v; want %q in it", err, tt.wantErr)
				}
				return
			}
			if err != nil || !bytes.Equal(got, tt.content) {
				t.Errorf("Get = %d bytes, %v; want %d bytes", len(got), err, len(tt.content))
			}
		})
	}
}

func TestGetEnds(t *testing.T) {
	silent := listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Get(ctx, silent.LocalAddr().String(), "file", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get of a silent server = %v; want the deadline", err)
	}
}

func TestGetBadArguments(t *testing.T) {
	for _, a := range [][2]string{{"127.0.0.1", ""}, {"127.0.0.1", "a\x00b"}, {"127.0.0.1:x:y", "f"}, {"127.0.0.1:nosuchservice", "f"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := Get(ctx, a[0], a[1], 1); err == nil {
			t.Errorf("Get(%q, %q) succeeds", a[0], a[1])
		}
		cancel()
	}
}
