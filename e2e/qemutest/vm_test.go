package qemutest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// bootSector returns a disk image that prints a message on the serial line
// and powers the machine off through ACPI's PM1a control register, which
// SeaBIOS puts at 0x604 on q35.
func bootSector(message string) []byte {
	code := []byte{
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xbe, 0x1c, 0x7c, // mov si, 0x7c00 + len(code)
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xac,       // next: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x03, // jz off
		0xee,       // out dx, al
		0xeb, 0xf8, // jmp next
		0xba, 0x04, 0x06, // off: mov dx, 0x604
		0xb8, 0x00, 0x20, // mov ax, 0x2000
		0xef,       // out dx, ax
		0xf4,       // halt: hlt
		0xeb, 0xfd, // jmp halt
	}
	sector := make([]byte, 1<<20) // SeaBIOS ignores disks that are too small
	copy(sector, code)
	copy(sector[len(code):], message)
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

// startSector starts a machine that prints message; nothing but the text of
// the message depends on it.
func startSector(t *testing.T, message string, allow ...*regexp.Regexp) *VM {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, bootSector(message), 0o644); err != nil {
		t.Fatal(err)
	}
	return StartT(t, Options{Medium: HardDisk, MemoryMB: 64, Disks: []Disk{{Path: disk}}}, allow...)
}

func TestMachineRunsFromFirstByteToPowerOff(t *testing.T) {
	vm := startSector(t, "hello from the first sector\r\n")
	if _, err := vm.AwaitConsole("greeting", 10*time.Second, 0, regexp.MustCompile(`^hello from the first sector$`)); err != nil {
		t.Fatal(err)
	}
	e, err := vm.AwaitExit("power off", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Data.Guest || e.Data.Reason != "guest-shutdown" {
		t.Errorf("shutdown event = %+v; want guest-shutdown by the guest", e)
	}
	log, err := os.ReadFile(filepath.Join(vm.Dir, consoleLog))
	if err != nil || !strings.Contains(string(log), "hello from the first sector") {
		t.Errorf("console.log = %q, %v; want the greeting", log, err)
	}
}

func TestTroubleEndsEveryWait(t *testing.T) {
	// Not StartT, which would fail this test for the trouble.
	Need(t, Binary)
	dir, err := os.MkdirTemp("", "vm-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	disk := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(disk, bootSector("Kernel panic - not syncing: test\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	vm, err := Start(t.Context(), dir, Options{Medium: HardDisk, MemoryMB: 64, Disks: []Disk{{Path: disk}}})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Kill()
	_, err = vm.AwaitConsole("ready line", 10*time.Second, 0, regexp.MustCompile("bulkhead: ready"))
	var trouble *TroubleError
	if !errors.As(err, &trouble) {
		t.Fatalf("AwaitConsole error = %v; want trouble", err)
	}
	for _, part := range []string{"ready line", "Kernel panic", Binary, dir} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in %v", part, err)
		}
	}
}

func TestAwaitNamesWhatItWaitedFor(t *testing.T) {
	vm := startSector(t, "hello\r\n")
	err := vm.Await("the ship to come in", time.Millisecond, func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	var wait *WaitError
	if !errors.As(err, &wait) || wait.What != "the ship to come in" {
		t.Errorf("Await error = %v; want a WaitError with the name", err)
	}
}
