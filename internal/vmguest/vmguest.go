// Package vmguest reads the guestinfo variables that VMware's hypervisor keeps
// for a virtual machine. It speaks the hypervisor's own protocol, which needs
// neither a driver nor VMware's tools; it offers nothing else of theirs.
//
// The protocol is that of open-vm-tools (lib/message, lib/rpcOut) and of
// Linux's drivers/gpu/drm/vmwgfx/vmwgfx_msg.c.
package vmguest

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrNoHypervisor means that no VMware hypervisor answers.
var ErrNoHypervisor = errors.New("no VMware hypervisor answers")

// Guestinfo returns the variable guestinfo.<key>, "" when it is not set.
func Guestinfo(ctx context.Context, key string) (string, error) {
	return guestinfo(ctx, backdoor, key)
}

// registers are EAX to EDI, in the order in which backdoor_amd64.s has them.
type registers struct{ ax, bx, cx, dx, si, di uint32 }

const (
	magic = 0x564d5868 // "VMXh"
	port  = 0x5658     // "VX"
	// Of the command "message", in the low half of ECX, the type is in the
	// high half.
	message     = 0x1e
	open        = 0
	sendSize    = 1
	sendPayload = 2
	recvSize    = 3
	recvPayload = 4
	recvStatus  = 5
	closeDown   = 6
	// Protocol of a channel, with the flag that cookies are wanted.
	rpci       = 0x49435052
	withCookie = 0x80000000
	// Status, in the high half of ECX.
	success    = 0x0001
	doReceive  = 0x0002
	checkpoint = 0x0080 // the machine was suspended meanwhile: start again
)

const (
	maxReply = 16 << 20
	attempts = 3
)

var errAgain = errors.New("interrupted by a checkpoint")

func guestinfo(ctx context.Context, call func(*registers) error, key string) (string, error) {
	for n := 1; ; n++ {
		reply, err := request(ctx, call, "info-get guestinfo."+key)
		if errors.Is(err, errAgain) && n < attempts {
			continue
		}
		if err != nil {
			return "", err
		}
		switch status, value, _ := strings.Cut(reply, " "); status {
		case "1":
			return value, nil
		case "0":
			return "", nil // not set
		}
		return "", fmt.Errorf("answer %.20q", reply)
	}
}

// A channel carries one request and its reply.
type channel struct {
	call             func(*registers) error
	id               uint32
	cookie1, cookie2 uint32
}

// request sends a text and returns the reply.
func request(ctx context.Context, call func(*registers) error, text string) (reply string, err error) {
	c := channel{call: call}
	r, err := c.message(open, rpci|withCookie)
	if err != nil {
		return "", err
	}
	c.id, c.cookie1, c.cookie2 = r.dx>>16, r.si, r.di
	defer func() {
		_, cerr := c.message(closeDown, 0)
		err = errors.Join(err, cerr)
	}()
	if err := c.send(text); err != nil {
		return "", err
	}
	return c.receive(ctx)
}

// message exchanges one step of the protocol.
func (c channel) message(kind, bx uint32) (registers, error) {
	r := registers{ax: magic, bx: bx, cx: kind<<16 | message, dx: c.id<<16 | port, si: c.cookie1, di: c.cookie2}
	if err := c.call(&r); err != nil {
		return r, err
	}
	switch status := r.cx >> 16; {
	case status&success != 0:
		return r, nil
	case status&checkpoint != 0:
		return r, errAgain
	}
	return r, fmt.Errorf("%w: step %d refused, status %#x", ErrNoHypervisor, kind, r.cx>>16)
}

func (c channel) send(text string) error {
	if _, err := c.message(sendSize, uint32(len(text))); err != nil {
		return err
	}
	for len(text) > 0 {
		var word uint32
		n := min(4, len(text))
		for i := range n {
			word |= uint32(text[i]) << (8 * i)
		}
		if _, err := c.message(sendPayload, word); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

func (c channel) receive(ctx context.Context) (string, error) {
	r, err := c.message(recvSize, 0)
	if err != nil {
		return "", err
	}
	if r.cx>>16&doReceive == 0 {
		return "", nil
	}
	size := r.bx
	if size > maxReply {
		return "", fmt.Errorf("answer of %d bytes", size)
	}
	reply := make([]byte, 0, size+3)
	for uint32(len(reply)) < size {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		r, err := c.message(recvPayload, success)
		if err != nil {
			return "", err
		}
		reply = append(reply, byte(r.bx), byte(r.bx>>8), byte(r.bx>>16), byte(r.bx>>24))
	}
	_, err = c.message(recvStatus, success)
	return string(reply[:size]), err
}
