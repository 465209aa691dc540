package uevent

import "testing"

func TestParse(t *testing.T) {
	const msg = "add@/devices/pci0000:00/usb1/1-1\x00ACTION=add\x00DEVPATH=/devices/pci0000:00/usb1/1-1\x00SUBSYSTEM=usb\x00MODALIAS=usb:v46F4p0001\x00SEQNUM=12\x00"
	want := Event{Action: "add", Subsystem: "usb", Modalias: "usb:v46F4p0001", Name: "1-1"}
	if got := parse(msg); got != want {
		t.Errorf("parse() = %+v; want %+v", got, want)
	}
	if got := parse("libudev\x00\xfe\xed"); got != (Event{}) {
		t.Errorf("parse(noise) = %+v", got)
	}
}
