package vmguest

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// A hypervisor is VMware's half of the protocol.
type hypervisor struct {
	t         *testing.T
	variables map[string]string
	// interrupt makes that many requests end with a checkpoint.
	interrupt int

	opened        bool
	want          int
	request, left []byte
}

const (
	channelID = 3
	cookie1   = 0xc0de0001
	cookie2   = 0xc0de0002
)

func (h *hypervisor) call(r *registers) error {
	if r.ax != magic || r.cx&0xffff != message || r.dx&0xffff != port {
		h.t.Fatalf("registers = %#v; want magic, command and port", *r)
	}
	kind := r.cx >> 16
	if kind != open && (!h.opened || r.dx>>16 != channelID || r.si != cookie1 || r.di != cookie2) {
		h.t.Fatalf("step %d: registers = %#v; want the channel and its cookies", kind, *r)
	}
	status := uint32(success)
	switch kind {
	case open:
		if h.opened || r.bx != rpci|withCookie {
			h.t.Fatalf("open: bx = %#x, opened %v", r.bx, h.opened)
		}
		h.opened, h.request = true, nil
		r.dx, r.si, r.di = channelID<<16|port, cookie1, cookie2
	case sendSize:
		h.want = int(r.bx)
	case sendPayload:
		h.request = binary.LittleEndian.AppendUint32(h.request, r.bx)
	case recvSize:
		h.left = []byte(h.answer(string(h.request[:h.want])))
		r.bx = uint32(len(h.left))
		status |= doReceive
	case recvPayload:
		if h.interrupt > 0 {
			h.interrupt--
			status = checkpoint
			break
		}
		var word [4]byte
		h.left = h.left[copy(word[:], h.left):]
		r.bx = binary.LittleEndian.Uint32(word[:])
	case recvStatus:
	case closeDown:
		h.opened = false
	}
	r.cx = status<<16 | message
	return nil
}

func (h *hypervisor) answer(request string) string {
	key, ok := strings.CutPrefix(request, "info-get guestinfo.")
	if !ok {
		return "0 Unknown command"
	}
	value, ok := h.variables[key]
	if !ok {
		return "0 No value found"
	}
	return "1 " + value
}

func TestGuestinfo(t *testing.T) {
	variables := map[string]string{"hostname": "web1", "empty": "", "userdata": strings.Repeat("#cloud-config\n", 1000)}
	tests := []struct {
		key       string
		interrupt int
		want      string
		wantErr   error
	}{
		{key: "hostname", want: "web1"},
		{key: "empty"},
		{key: "missing"},
		{key: "userdata", want: variables["userdata"]},
		{key: "hostname", interrupt: 2, want: "web1"},
		{key: "hostname", interrupt: 3, wantErr: errAgain},
	}
	for _, tt := range tests {
		h := &hypervisor{t: t, variables: variables, interrupt: tt.interrupt}
		got, err := guestinfo(t.Context(), h.call, tt.key)
		if got != tt.want || !errors.Is(err, tt.wantErr) {
			t.Errorf("guestinfo(%s) = %.40q, %v; want %.40q, %v", tt.key, got, err, tt.want, tt.wantErr)
		}
		if h.opened {
			t.Errorf("guestinfo(%s) left its channel open", tt.key)
		}
	}
}

// TestNoHypervisor makes sure that asking where there is no VMware ends in an
// error, not in the end of the program.
func TestNoHypervisor(t *testing.T) {
	if _, err := Guestinfo(t.Context(), "hostname"); !errors.Is(err, ErrNoHypervisor) {
		t.Errorf("Guestinfo = %v; want %v", err, ErrNoHypervisor)
	}
}
