package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/gpt"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/internal/power"
	"github.com/bulkhead-os/bulkhead/internal/uevent"
)

const testKernel = "6.12.0-test"

// fake is a machine in memory. It records what is done to it.
type fake struct {
	mu sync.Mutex
	// files are those that exist, and what is written; a directory is a
	// file without content.
	files    map[string]string
	devices  []blockdev.Device
	contents map[string][]byte
	// digests are those of fs-verity, by file.
	digests map[string]string
	// arrivals appear one by one, each with its event.
	arrivals []arrival
	// refuse has errors for calls, by the call as recorded.
	refuse map[string]error
	// exit has the exit status of programs by their first word.
	exit map[string]int
	// console is what a person types.
	console string
	// shell is what a person does in the shell.
	shell func()
	now   time.Time
	// times are those of files.
	times map[string]time.Time

	calls    []string
	steps    []string
	consoles []string
}

type arrival struct {
	event  uevent.Event
	device *blockdev.Device
}

func newFake(cmdline string) *fake {
	return &fake{
		files: map[string]string{
			"/proc/cmdline":                                 cmdline + "\n",
			"/proc/sys/kernel/osrelease":                    testKernel + "\n",
			"/lib/modules/6.12.0-test/modules.dep":          "kernel/ahci.ko: kernel/libata.ko kernel/scsi_mod.ko\nkernel/libata.ko: kernel/scsi_mod.ko\nkernel/scsi_mod.ko:\n",
			"/lib/modules/6.12.0-test/modules.alias":        "alias pci:v*d*sv*sd*bc01sc06i01* ahci\n",
			"/sys/kernel/security":                          "",
			"/newroot/bulkhead/modules/6.12.0-test":         "",
			"/bulkhead/modules/6.12.0-test/modules.devname": "tun net/tun c10:200\n",
			systemEngine: "",
		},
		devices:  []blockdev.Device{cdrom},
		contents: map[string][]byte{},
		digests:  map[string]string{},
		refuse:   map[string]error{},
		exit:     map[string]int{},
		now:      time.Now(),
	}
}

var cdrom = blockdev.Device{Name: "sr0", Path: "/dev/sr0", Size: 64 << 20, ReadOnly: true, Info: blockdev.Info{Type: "iso9660", Label: isoLabel}}

func (f *fake) call(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := fmt.Sprintf(format, args...)
	f.calls = append(f.calls, c)
	return f.refuse[c]
}

// matching returns the recorded calls that begin with prefix.
func (f *fake) matching(prefix string) []string {
	var calls []string
	for _, c := range f.calls {
		if strings.HasPrefix(c, prefix) {
			calls = append(calls, c)
		}
	}
	return calls
}

func (f *fake) Mount(m mount) error {
	err := f.call("%v", m)
	// The medium shows what it carries once it is mounted.
	if err == nil && m.target == mediumDir {
		f.files["/medium/bulkhead/root.erofs"] = ""
	}
	return err
}

func (f *fake) Unmount(target string) error            { return f.call("unmount %s", target) }
func (f *fake) EnterRoot(dir string) error             { return f.call("enter %s", dir) }
func (f *fake) AttachLoop(file string) (string, error) { return "/dev/loop0", f.call("loop %s", file) }
func (f *fake) NoteTrial(device string, slot bootstate.Slot, cause string) error {
	return f.call("note %s %s %s", device, slot, cause)
}
func (f *fake) LoadModule(path string) error      { return f.call("module %s", path) }
func (f *fake) FreeInitramfs() error              { return f.call("free") }
func (f *fake) Subscribe() error                  { return nil }
func (f *fake) Modaliases() ([]string, error)     { return nil, nil }
func (f *fake) SetHostname(name string) error     { return f.call("hostname %s", name) }
func (f *fake) Symlink(target, path string) error { return f.call("symlink %s %s", target, path) }
func (f *fake) MakeDir(path string, mode fs.FileMode) error {
	return f.call("mkdir %s %04o", path, mode)
}
func (f *fake) MakeNode(n node) error {
	return f.call("node %s %o %d:%d", n.path, n.mode(), n.major, n.minor)
}

func (f *fake) ModTime(path string) (time.Time, error) {
	if t, ok := f.times[path]; ok {
		return t, nil
	}
	return time.Time{}, fs.ErrNotExist
}

func (f *fake) Now() time.Time             { return f.now }
func (f *fake) SetClock(t time.Time) error { return f.call("clock %s", t.UTC().Format(time.RFC3339)) }
func (f *fake) KernelLog() string          { return "log of the kernel" }
func (f *fake) Log(kmsg.Priority, string)  {}

func (f *fake) NextEvent(time.Time) (uevent.Event, error) {
	if len(f.arrivals) == 0 {
		return uevent.Event{}, os.ErrDeadlineExceeded
	}
	a := f.arrivals[0]
	f.arrivals = f.arrivals[1:]
	if a.device != nil {
		f.devices = append(f.devices, *a.device)
	}
	return a.event, nil
}

func (f *fake) Devices() ([]blockdev.Device, error) { return f.devices, nil }

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func (f *fake) OpenDevice(path string) (device, error) {
	return content{bytes.NewReader(f.contents[path])}, nil
}

// AddPartition shows the partition as it is once it has its file system.
func (f *fake) AddPartition(disk string, p disklayout.Partition) error {
	device := blockdev.Device{Path: partition.Path(disk, strconv.Itoa(p.Number)), Size: p.Size, Disk: path.Base(disk), PartName: p.Role.Name()}
	device.Name, device.Info.Type = path.Base(device.Path), "ext4"
	f.devices = append(f.devices, device)
	return f.call("add %s to %s", p.Role.Name(), disk)
}

func (f *fake) WritePartitionTable(disk string, t gpt.Table) error {
	return f.call("write %d partitions to %s", len(t.Partitions), disk)
}

func (f *fake) ReadFile(path string) (string, error) {
	if s, ok := f.files[path]; ok {
		return s, nil
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
}

func (f *fake) WriteFile(path, content string) error {
	f.files[path] = content
	return nil
}

func (f *fake) Verity(path string) (string, error) { return f.digests[path], f.call("verity %s", path) }

func (f *fake) Exists(path string) bool {
	_, ok := f.files[path]
	return ok
}

func (f *fake) Run(_ context.Context, argv ...string) (int, string, error) {
	err := f.call("run %s", strings.Join(argv, " "))
	return f.exit[argv[0]], "output of " + argv[0], err
}

func (f *fake) Start(argv ...string) error { return f.call("start %s", strings.Join(argv, " ")) }

func (f *fake) Shell(argv, _ []string) error {
	if f.shell != nil {
		f.shell()
	}
	return f.call("shell %s", argv[0])
}

// The real one does not return.
var errExec = errors.New("exec returned")

func (f *fake) Exec(path string, argv, env []string) error {
	f.call("exec %s %v %v", path, argv, env)
	return errExec
}

func (f *fake) End(action power.Action) error {
	f.call("%s", action)
	panic(rebooted{})
}

// rebooted ends a test's boot where the real machine would.
type rebooted struct{}

type typed struct {
	*strings.Reader
	out *fake
}

func (typed) Close() error                    { return nil }
func (typed) SetReadDeadline(time.Time) error { return nil }

func (t typed) Write(p []byte) (int, error) {
	t.out.consoles = append(t.out.consoles, string(p))
	return len(p), nil
}

// Read fails as after a deadline when no one types.
func (t typed) Read(p []byte) (int, error) {
	if t.Len() == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return t.Reader.Read(p)
}

func (f *fake) Console() (terminal, error) { return typed{strings.NewReader(f.console), f}, nil }
func (f *fake) Announce(line string)       { f.consoles = append(f.consoles, line) }

func (f *fake) Record(s bootlog.Step) {
	name := strings.TrimPrefix(s.Name, "init/")
	if s.Error != "" {
		name += ": " + s.Error
	}
	f.steps = append(f.steps, name)
}

// boot runs all steps up to the hand-over, or to a reboot out of rescue.
func (f *fake) boot() (b *boot) {
	b = newBoot(f)
	defer func() {
		if r := recover(); r != nil && r != any(rebooted{}) {
			panic(r)
		}
	}()
	steps := append([]step(nil), bootSteps...)
	// A hand-over that returns has failed, and rescue would follow.
	steps[len(steps)-1].optional = always
	b.run(context.Background(), steps)
	return b
}

// disk makes a disk with a file system.
func disk(name, fstype, label string) blockdev.Device {
	return blockdev.Device{Name: name, Path: "/dev/" + name, Size: 8 << 30, Info: blockdev.Info{Type: fstype, Label: label}}
}
