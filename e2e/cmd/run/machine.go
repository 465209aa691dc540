package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// anyTrouble lets a machine that a person looks at go on whatever it prints.
var anyTrouble = regexp.MustCompile(`.`)

// diskMB is the size of each disk; the files are sparse.
const diskMB = 20 << 10

// prepare makes the files a machine needs and says how to start it.
func prepare(ctx context.Context, s settings, dir string, key qemutest.Key) (qemutest.Options, error) {
	o := qemutest.Options{Name: "bulkhead", MemoryMB: s.memory, ISO: s.iso, UEFI: s.uefi, SSHPort: s.sshPort}
	disk := filepath.Join(dir, "state.img")
	if err := stateDisk(ctx, s, disk); err != nil {
		return o, err
	}
	o.Disks = append(o.Disks, qemutest.Disk{Path: disk})
	if s.secondDrive {
		second := filepath.Join(dir, "second.img")
		if err := qemutest.MakeDisk(second, diskMB); err != nil && !errors.Is(err, os.ErrExist) {
			return o, err
		}
		o.Disks = append(o.Disks, qemutest.Disk{Path: second})
	}
	seed := filepath.Join(dir, "config.iso")
	if err := configDisk(ctx, s, seed, key); err != nil {
		return o, err
	}
	o.Disks = append(o.Disks, qemutest.Disk{Path: seed, ReadOnly: true})
	if s.bootHD {
		o.Medium, o.ISO = qemutest.HardDisk, ""
	}
	if s.appendLine != "" {
		boot, err := qemutest.ExtractBoot(ctx, s.iso, dir)
		if err != nil {
			return o, err
		}
		o.Medium, o.Kernel, o.Initrd = qemutest.Kernel, boot.Kernel, boot.Initrd
		o.Append = boot.Append + " " + s.appendLine
	}
	return o, nil
}

// stateDisk makes the disk that lasts, unless it is there.
func stateDisk(ctx context.Context, s settings, path string) error {
	if s.fresh {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if s.noFormat {
		return qemutest.MakeDisk(path, diskMB)
	}
	return qemutest.MakeExt4(ctx, path, "RANCHER_STATE", diskMB, nil)
}

// configDisk makes the config-2 disk.
func configDisk(ctx context.Context, s settings, path string, key qemutest.Key) error {
	var own string
	if s.cloudConfig != "" {
		content, err := os.ReadFile(s.cloudConfig)
		if err != nil {
			return err
		}
		own = string(content)
	}
	developer := developerKeys()
	seed := qemutest.Seed{
		Kind:     qemutest.Config2,
		UserData: userData(own, append(developer, key.Authorized), len(developer) == 0),
		Keys:     append(developer, key.Authorized),
	}
	return seed.Write(ctx, path)
}

// userData adds keys, and a password where there is no better way in, to a
// person's own document. A document that names keys itself, or is a script, is
// left as it is: the keys are in the metadata too.
func userData(own string, keys []string, password bool) string {
	if own != "" && !strings.HasPrefix(own, "#cloud-config") {
		return own
	}
	if own == "" {
		own = "#cloud-config\n"
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(own, "\n") + "\n")
	if !topLevel(own, "ssh_authorized_keys") {
		b.WriteString("ssh_authorized_keys:\n")
		for _, key := range keys {
			fmt.Fprintf(&b, "  - %s\n", key)
		}
	}
	if password && !topLevel(own, "rancher") {
		b.WriteString("rancher:\n  password: rancher\n")
	}
	return b.String()
}

// topLevel reports whether a YAML document has a key at its top level.
func topLevel(document, key string) bool {
	return regexp.MustCompile(`(?m)^` + key + `:`).MatchString(document)
}

// portFree complains, with a remedy, when the ssh port is taken.
func portFree(port int, dir string) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		return l.Close()
	}
	holder := "another program; `ss -ltnp` shows which"
	if qemutest.Running(dir) {
		holder = "the machine of an earlier ./scripts/run; ./scripts/run --stop ends it"
	} else if out, err := exec.Command("ss", "-Hltnp", fmt.Sprintf("sport = :%d", port)).Output(); err == nil {
		if m := regexp.MustCompile(`\("([^"]+)",pid=(\d+)`).FindSubmatch(out); m != nil {
			holder = fmt.Sprintf("%s (process %s)", m[1], m[2])
		}
	}
	return fmt.Errorf("port %d on localhost is taken by %s; or choose another with --ssh-port", port, holder)
}

// stop powers a machine that was left running off.
func stop(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, qemutest.Scaled(30*time.Second))
	defer cancel()
	if !qemutest.Running(dir) {
		return errors.New("no machine runs")
	}
	monitor, err := qemutest.DialMonitor(ctx, qemutest.MonitorSocket(dir))
	if err != nil {
		return err
	}
	defer monitor.Close()
	if err := monitor.PowerButton(ctx); err != nil {
		return err
	}
	if _, err := monitor.Wait(ctx, 0, "SHUTDOWN"); err != nil {
		fmt.Fprintln(os.Stderr, "run: the machine did not power off in time; pulling the plug")
		return monitor.Quit(context.WithoutCancel(ctx))
	}
	return nil
}
