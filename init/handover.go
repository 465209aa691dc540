package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/hostname"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// environment is that of PID 1 and of what it starts. The kernel would add
// every parameter it does not know.
var environment = []string{
	"PATH=" + layout.EngineBin + ":/usr/sbin:/usr/bin:/sbin:/bin",
	// In addition to the usual certificate authorities, those of the configuration.
	"SSL_CERT_DIR=" + layout.CertDir,
}

// switchRoot makes the system image the root. Everything later uses final paths.
func switchRoot(_ context.Context, b *boot) error {
	for _, m := range kernelMounts {
		if err := b.move(m.target, m.target); err != nil {
			return err
		}
	}
	if b.medium != nil {
		if err := b.move(mediumDir, layout.MediumDir); err != nil {
			return err
		}
	}
	if b.sys.Exists(layout.NetbootDir) {
		// What the network brought is a medium like any other.
		m := mount{source: layout.NetbootDir, target: path.Join(newRoot, layout.MediumDir), flags: bind}
		if err := b.mount(m); err != nil {
			return err
		}
	}
	if err := b.sys.EnterRoot(newRoot); err != nil {
		return err
	}
	b.entered = true
	return nil
}

// move moves the mount on from to the place that will be to.
func (b *boot) move(from, to string) error {
	return b.mount(mount{source: from, target: path.Join(newRoot, to), flags: movable})
}

// writeHostFiles makes the files that /etc links to, which the network service
// writes to later, and the usual path of user Docker's socket.
func writeHostFiles(_ context.Context, b *boot) error {
	// The default holds until the configuration says otherwise.
	machine := cmp.Or(b.params.Get("cc.hostname"), hostname.Default)
	err := b.sys.SetHostname(machine)
	if err != nil && machine != hostname.Default {
		// cloud-init reports what is wrong with it.
		b.sys.Log(kmsg.Warning, fmt.Sprintf("init: set host name %q: %v", machine, err))
		machine = hostname.Default
		err = b.sys.SetHostname(machine)
	}
	if err != nil {
		return fmt.Errorf("set host name %q: %w", machine, err)
	}
	if err := b.sys.MakeDir(layout.EtcDir, 0o755); err != nil {
		return err
	}
	if err := b.sys.Symlink(path.Join(path.Base(layout.UserRunDir), "docker.sock"), layout.UserSocket); err != nil {
		return err
	}
	id, err := b.machineID()
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"machine-id":  id,
		"hostname":    machine + "\n",
		"resolv.conf": "",
		"hosts":       hostname.Hosts(machine),
	} {
		if err := b.sys.WriteFile(path.Join(layout.EtcDir, name), content); err != nil {
			return err
		}
	}
	return nil
}

// machineID returns the content of /etc/machine-id (machine-id(5)): what an
// earlier boot has stored with the state, or a new one, which is stored.
func (b *boot) machineID() (string, error) {
	if id, err := b.sys.ReadFile(layout.MachineID); err == nil && isMachineID(id) {
		return id, nil
	}
	var raw [16]byte
	rand.Read(raw[:]) // does not fail
	// The form of a random UUID (RFC 9562), as systemd's are.
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	id := hex.EncodeToString(raw[:]) + "\n"
	return id, b.sys.WriteFile(layout.MachineID, id)
}

// isMachineID tells a file that a power cut has left empty from a good one.
func isMachineID(text string) bool {
	return len(text) == 33 && strings.Trim(text, "0123456789abcdef") == "\n"
}

// loadExtraModules loads those of rancher.modules that the initramfs lacks.
func loadExtraModules(ctx context.Context, b *boot) error {
	names := b.params.List("rancher.modules")
	if len(names) == 0 {
		return nil
	}
	status, out, err := b.sys.Run(ctx, append([]string{"/sbin/modprobe", "--all"}, names...)...)
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d: %s", status, out)
	}
	if err != nil {
		return fmt.Errorf("modprobe %v: %w", names, err)
	}
	return nil
}

// freeInitramfs gives the initramfs's memory back. It can still load drivers
// until here.
func freeInitramfs(_ context.Context, b *boot) error {
	b.drivers = nil
	return b.sys.FreeInitramfs()
}

// systemEngine is the binary that carries on as PID 1. It is the system tier's
// when it is called layout.SystemInit.
const systemEngine = layout.EngineBin + "/dockerd"

// prefetch begins to read the engine into memory. Page by page, as it is run,
// it would come from the medium several times more slowly.
func prefetch(_ context.Context, b *boot) error {
	return b.sys.Start("/usr/bin/cat", systemEngine, layout.EngineBin+"/containerd-shim-runc-v2", layout.EngineBin+"/runc")
}

// handOver becomes the system Docker daemon. It returns only when that failed.
func handOver(_ context.Context, b *boot) error {
	if !b.sys.Exists(systemEngine) {
		return fmt.Errorf("%s does not exist", systemEngine)
	}
	// No one reports the step after it.
	b.record("hand-over", nil)
	b.sys.Log(kmsg.Info, "init: hand over to "+systemEngine)
	err := b.sys.Exec(systemEngine, []string{layout.SystemInit}, environment)
	return fmt.Errorf("exec %s: %w", systemEngine, err)
}
