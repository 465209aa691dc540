// Package tftp reads files from TFTP servers (RFC 1350, octet mode, no
// options). It never writes.
package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	opRead  = 1
	opData  = 3
	opAck   = 4
	opError = 5

	blockSize = 512
	// resendAfter is how long to wait for a packet before asking again.
	resendAfter = time.Second
)

// ErrNotFound is the server's answer for a file that it does not have.
var ErrNotFound = errors.New("file not found")

// Get returns a file of at most maxSize bytes, or of just under 32 MiB, where
// the numbers of blocks end. The server is a host with an optional port. Lost
// packets are asked for again until ctx ends.
func Get(ctx context.Context, server, file string, maxSize int) ([]byte, error) {
	data, err := get(ctx, server, file, maxSize)
	if err != nil {
		return nil, fmt.Errorf("tftp://%s/%s: %w", server, file, err)
	}
	return data, nil
}

func get(ctx context.Context, server, file string, maxSize int) ([]byte, error) {
	if file == "" || strings.ContainsRune(file, 0) {
		return nil, errors.New("expected the name of a file")
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(strings.Trim(server, "[]"), "69")
	}
	addr, err := resolve(ctx, server)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// Reads end with ctx.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	t := transfer{conn: conn, server: addr, maxSize: maxSize}
	t.last = fmt.Appendf([]byte{0, opRead}, "%s\x00octet\x00", file)
	data, err := t.run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("after %d bytes: %w", t.data.Len(), ctx.Err())
	}
	return data, err
}

func resolve(ctx context.Context, server string) (*net.UDPAddr, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	return &net.UDPAddr{IP: addrs[0].IP, Zone: addrs[0].Zone, Port: number}, nil
}

// A transfer is one file under way.
type transfer struct {
	conn *net.UDPConn
	// server is where the request goes; the answers come from another port,
	// which stays the same from the first one on.
	server  *net.UDPAddr
	known   bool
	maxSize int
	last    []byte // the packet to send again
	data    bytes.Buffer
	block   uint16 // the last one received
}

func (t *transfer) run() ([]byte, error) {
	if err := t.send(t.last); err != nil {
		return nil, err
	}
	packet := make([]byte, 4+blockSize+1)
	for {
		if err := t.conn.SetReadDeadline(time.Now().Add(resendAfter)); err != nil {
			return nil, err
		}
		n, from, err := t.conn.ReadFromUDP(packet)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			if err := t.send(t.last); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if !from.IP.Equal(t.server.IP) || t.known && from.Port != t.server.Port {
			continue
		}
		t.server.Port, t.known = from.Port, true
		done, err := t.receive(packet[:n])
		if err != nil || done {
			return t.data.Bytes(), err
		}
	}
}

// receive takes one packet and reports whether it was the last.
func (t *transfer) receive(packet []byte) (done bool, err error) {
	if len(packet) < 4 {
		return false, nil
	}
	number := binary.BigEndian.Uint16(packet[2:])
	switch binary.BigEndian.Uint16(packet) {
	case opError:
		if number == 1 {
			return false, ErrNotFound
		}
		text, _, _ := bytes.Cut(packet[4:], []byte{0})
		return false, fmt.Errorf("server says: error %d: %.100q", number, text)
	case opData:
		if number != t.block+1 {
			// Sent twice. To acknowledge it again would double all that
			// follow (RFC 1123 §4.2.3.1).
			return false, nil
		}
		if len(packet) > 4+blockSize {
			return false, errors.New("block of more than 512 bytes")
		}
		t.block = number
		t.data.Write(packet[4:])
		if t.data.Len() > t.maxSize || t.block == 0xffff {
			return false, fmt.Errorf("larger than %d bytes", min(t.maxSize, 0xffff*blockSize))
		}
		t.last = []byte{0, opAck, packet[2], packet[3]}
		return len(packet) < 4+blockSize, t.send(t.last)
	}
	return false, nil
}

func (t *transfer) send(packet []byte) error {
	_, err := t.conn.WriteToUDP(packet, t.server)
	return err
}
