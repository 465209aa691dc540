package main

import (
	"context"
	"fmt"
	"path"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// environment is that of PID 1 and of what it starts. The kernel would add
// every parameter it does not know.
var environment = []string{
	"PATH=" + layout.EngineBin + ":/usr/sbin:/usr/bin:/sbin:/bin",
	// Beside the usual certificate authorities, those of the configuration.
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

// defaultHostname holds until the configuration says otherwise.
const defaultHostname = "bulkhead"

// writeHostFiles makes the files that /etc links to, which the network service
// writes to later, and the usual path of user Docker's socket.
func writeHostFiles(_ context.Context, b *boot) error {
	hostname := b.params.Get("cc.hostname")
	if hostname == "" {
		hostname = defaultHostname
	}
	err := b.sys.SetHostname(hostname)
	if err != nil && hostname != defaultHostname {
		// cloud-init tells people what is wrong with it.
		b.sys.Log(kmsg.Warning, fmt.Sprintf("init: set host name %q: %v", hostname, err))
		hostname = defaultHostname
		err = b.sys.SetHostname(hostname)
	}
	if err != nil {
		return fmt.Errorf("set host name %q: %w", hostname, err)
	}
	if err := b.sys.MakeDir(layout.EtcDir, 0o755); err != nil {
		return err
	}
	if err := b.sys.Symlink(path.Join(path.Base(layout.UserRunDir), "docker.sock"), layout.UserSocket); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"hostname":    hostname + "\n",
		"resolv.conf": "",
		"hosts": "127.0.0.1 localhost\n" +
			"127.0.1.1 " + hostname + "\n" +
			"::1 localhost ip6-localhost ip6-loopback\n" +
			"ff02::1 ip6-allnodes\n" +
			"ff02::2 ip6-allrouters\n",
	} {
		if err := b.sys.WriteFile(path.Join(layout.EtcDir, name), content); err != nil {
			return err
		}
	}
	return nil
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

// systemEngine is the binary that carries on as PID 1, and engineName what
// tells it that it is the system tier's.
const (
	systemEngine = layout.EngineBin + "/dockerd"
	engineName   = "system-dockerd"
)

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
	err := b.sys.Exec(systemEngine, []string{engineName}, environment)
	return fmt.Errorf("exec %s: %w", systemEngine, err)
}
