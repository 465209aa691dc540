package qemutest

import "testing"

func TestFirstKernelLine(t *testing.T) {
	const menu = `set timeout=3
set args="console=tty0 console=ttyS0 quiet"
menuentry "Bulkhead" {
	linux /boot/vmlinuz $args
	initrd /boot/initrd
}
menuentry "Recovery" {
	linux /boot/vmlinuz rancher.recovery
}
`
	if got, err := firstKernelLine(menu); err != nil || got != "console=tty0 console=ttyS0 quiet" {
		t.Errorf("firstKernelLine = %q, %v; want the first entry's arguments", got, err)
	}
	if got, err := firstKernelLine("set timeout=3\n"); err == nil {
		t.Errorf("firstKernelLine without entries = %q; want an error", got)
	}
}
