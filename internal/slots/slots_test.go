package slots

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/loop/looptest"
	"github.com/bulkhead-os/bulkhead/internal/release"
	"github.com/bulkhead-os/bulkhead/internal/work"
)

// disk is one whose boot state is a file; a runs.
func disk(t *testing.T, running bootstate.Slot) Disk {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bootstate")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return Disk{Running: running, devices: map[disklayout.Role]string{disklayout.BootState: file}}
}

func stateOf(t *testing.T, d Disk) bootstate.State {
	t.Helper()
	blocks, err := d.BootState().Read()
	if err != nil {
		t.Fatal(err)
	}
	s, err := blocks.Read()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTrial(t *testing.T) {
	d := disk(t, bootstate.A)
	if err := d.BootState().Write(bootstate.State{N: 4, Good: bootstate.A, ID: 6, Max: 2, Args: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := d.MayFill(); err != nil {
		t.Errorf("MayFill: %v", err)
	}
	id, err := d.Arm()
	if err != nil || id != 7 {
		t.Fatal(id, err)
	}
	want := bootstate.State{N: 5, Good: bootstate.A, Try: bootstate.B, ID: 7, Max: 1, Args: "x"}
	if diff := cmp.Diff(want, stateOf(t, d)); diff != "" {
		t.Errorf("armed: %s", diff)
	}
	// Another upgrade before the reboot begins with this.
	if err := d.Clear(); err != nil || stateOf(t, d).Try != bootstate.None {
		t.Errorf("cleared: %v, %+v", err, stateOf(t, d))
	}
	if _, err := d.Arm(); err != nil {
		t.Fatal(err)
	}
	b := d
	b.Running = bootstate.B
	if err := b.MayFill(); err == nil {
		t.Error("a system on trial may overwrite the good one")
	}
	if err := b.Keep(); err != nil {
		t.Fatal(err)
	}
	if s := stateOf(t, b); s.Good != bootstate.B || s.Try != bootstate.None || s.Args != "x" {
		t.Errorf("kept: %+v", s)
	}
	if err := d.MayFill(); err == nil {
		t.Error("the good system may be overwritten from the other")
	}
}

// TestArmCounted: GRUB does not take a new trial for one that it has counted, also
// when the blocks of the OS were lost.
func TestArmCounted(t *testing.T) {
	d := disk(t, bootstate.A)
	block, err := bootstate.Trials{ID: 9, Tries: 1}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(d.BootState().Device, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(block, bootstate.GrubOffset)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if id, err := d.Arm(); err != nil || id != 10 {
		t.Errorf("trial %d, %v", id, err)
	}
}

func TestLock(t *testing.T) {
	d := disk(t, bootstate.A)
	lock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); err == nil {
		t.Error("two at once")
	}
	lock.Close()
	again, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestHistory(t *testing.T) {
	h := History(filepath.Join(t.TempDir(), "conf", "history"))
	if last, err := h.Last(); err != nil || last.Outcome != "" {
		t.Errorf("nothing yet: %+v, %v", last, err)
	}
	want := []Event{
		{Time: time.Unix(1, 0).UTC(), Outcome: Tried, Slot: bootstate.B, Version: "v2", From: "v1", Trial: 1},
		{Time: time.Unix(2, 0).UTC(), Outcome: Failed, Slot: bootstate.B, Version: "v2", Trial: 1, Cause: "a\nb"},
	}
	for _, e := range want {
		if err := h.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(string(h), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(`{"outcome": "cut of`)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := h.Read()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// A counting source counts the bytes that are read from it. It fails after limit
// of them, if limit is set.
type counting struct {
	release.Source
	read  int64
	limit int64
}

func (c *counting) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	f, size, err := c.Source.Open(ctx, path, offset)
	return &countedFile{f, c}, size, err
}

type countedFile struct {
	io.ReadCloser
	of *counting
}

func (f *countedFile) Read(b []byte) (int, error) {
	if f.of.limit > 0 && f.of.read >= f.of.limit {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := f.ReadCloser.Read(b)
	f.of.read += int64(n)
	return n, err
}

// TestIntegrationFill fills a slot on a loop device, cut off and begun again.
func TestIntegrationFill(t *testing.T) {
	dir := t.TempDir()
	for i, path := range release.Needed() {
		name := filepath.Join(dir, path)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, []byte(strings.Repeat(path, 100_000+i)), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := release.Manifest{Version: "v2"}.Describe(func(path string) string { return filepath.Join(dir, path) })
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	source := &counting{Source: release.Folder(dir)}
	f := Filling{
		Release: release.Release{Manifest: m, Text: text, Source: source}, Device: looptest.Disk(t, "", 64<<20), Dir: filepath.Join(t.TempDir(), "slot"),
		Meter: &work.Meter{Report: func(work.Progress) {}},
		// Not every kernel that tests run on has fs-verity.
		Seal: func(file, digest string) error {
			if err := SealFile(file, digest); !errors.Is(err, unix.EOPNOTSUPP) {
				return err
			}
			return nil
		},
	}
	d := Disk{Running: bootstate.A, devices: map[disklayout.Role]string{disklayout.SlotB: f.Device}}
	holds := func() error {
		_, err := d.Release(bootstate.B, f.Dir)
		return err
	}

	source.limit = m.Size() / 2
	if err := f.Write(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("broken off: %v", err)
	}
	if err := holds(); !errors.Is(err, errEmpty) {
		t.Errorf("half a system is one: %v", err)
	}
	had := source.read
	source.read, source.limit = 0, 0
	if err := errors.Join(f.Write(t.Context()), f.Finish(t.Context())); err != nil {
		t.Fatal(err)
	}
	if source.read != m.Size()-had {
		t.Errorf("the second attempt got %d bytes; %d were left", source.read, m.Size()-had)
	}
	if err := errors.Join(holds(), d.Verify(t.Context(), bootstate.B, f.Dir, f.Meter)); err != nil {
		t.Error(err)
	}

	// Something else than the release names leaves no system.
	if err := os.WriteFile(filepath.Join(dir, layout.KernelFile), []byte(strings.Repeat("Boot/vmlinuz", 100_001)), 0o644); err != nil {
		t.Fatal(err)
	}
	f.Text = append(text, ' ')
	if err := f.Write(t.Context()); !errors.Is(err, release.ErrDigest) {
		t.Errorf("another kernel: %v", err)
	}
	if err := holds(); !errors.Is(err, errEmpty) {
		t.Errorf("a slot with another kernel: %v", err)
	}
}
