// Command run boots the ISO in QEMU with a disk that lasts, for people who
// develop or try the system; scripts/run is its front door. Tests do not use
// it: they start their machines with package qemutest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

const usage = `Usage: ./scripts/run [switches]

Boots the ISO in QEMU. The disk in dist/run lasts from run to run; ssh is on
localhost:2222. Your public keys (~/.ssh/*.pub) may log in as rancher; if you
have none, the password is rancher. Ctrl-C presses the power button, a second
Ctrl-C pulls the plug.

Switches:
  --memory MB          memory of the machine (2048)
  --append TEXT        add to the kernel command line; boots the kernel directly
  --cloud-config FILE  configure the machine with this file
  --fresh              begin with an empty disk
  --iso FILE           boot this ISO instead of dist/artifacts/bulkhead-amd64.iso
  --boothd             boot from the disk, where the system was installed before
  --second-drive       attach a second, empty disk
  --no-format          leave the disk without a file system
  --uefi               UEFI firmware instead of BIOS
  --headless           return when ssh works and leave the machine running
  --stop               power a --headless machine off
  --ssh-port PORT      port on localhost for ssh (2222)

Examples:
  ./scripts/run
  ./scripts/run --fresh --cloud-config my.yml
  ./scripts/run --memory 512 --append "rancher.debug=true"
  ./scripts/run --headless && ./scripts/ssh docker info; ./scripts/run --stop
`

// defaultISO is where ./build.sh leaves the ISO.
const defaultISO = "dist/artifacts/bulkhead-amd64.iso"

// settings are the command line.
type settings struct {
	memory                                     int
	appendLine, cloudConfig, iso               string
	fresh, bootHD, secondDrive, noFormat, uefi bool
	headless, stop                             bool
	sshPort                                    int
}

// errUsage means that the command line is wrong; the reason has been printed.
var errUsage = errors.New("wrong usage")

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { fmt.Fprint(stderr, usage) }
	f.IntVar(&s.memory, "memory", 2048, "")
	f.StringVar(&s.appendLine, "append", "", "")
	f.StringVar(&s.cloudConfig, "cloud-config", "", "")
	f.StringVar(&s.iso, "iso", defaultISO, "")
	f.BoolVar(&s.fresh, "fresh", false, "")
	f.BoolVar(&s.bootHD, "boothd", false, "")
	f.BoolVar(&s.secondDrive, "second-drive", false, "")
	f.BoolVar(&s.noFormat, "no-format", false, "")
	f.BoolVar(&s.uefi, "uefi", false, "")
	f.BoolVar(&s.headless, "headless", false, "")
	f.BoolVar(&s.stop, "stop", false, "")
	f.IntVar(&s.sshPort, "ssh-port", 2222, "")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if f.NArg() > 0 {
		fmt.Fprintf(stderr, "run: unknown argument %q; --help lists the switches\n", f.Arg(0))
		return s, errUsage
	}
	if s.bootHD && s.appendLine != "" {
		fmt.Fprintln(stderr, "run: --append boots a kernel directly and cannot go with --boothd")
		return s, errUsage
	}
	return s, nil
}

func main() {
	s, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2)
	}
	if err := run(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	dir, err := filepath.Abs("dist/run")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if s.stop {
		return stop(ctx, dir)
	}
	if err := portFree(s.sshPort, dir); err != nil {
		return err
	}
	if err := build(ctx, s); err != nil {
		return err
	}
	key, err := machineKey(dir)
	if err != nil {
		return err
	}
	options, err := prepare(ctx, s, dir, key)
	if err != nil {
		return err
	}
	// Until the terminal is attached, Ctrl-C simply ends everything.
	booting, ended := signal.NotifyContext(ctx, os.Interrupt)
	defer ended()
	vm, err := qemutest.Start(ctx, dir, options, anyTrouble)
	if err != nil {
		return err
	}
	if err := waitForLogin(booting, vm, key, os.Stdout); err != nil {
		if booting.Err() == nil && s.headless {
			return fmt.Errorf("%w\nthe machine still runs; ./scripts/run --stop ends it", err)
		}
		vm.Kill()
		return err
	}
	fmt.Printf("ssh -p %d rancher@localhost    (or ./scripts/ssh, which asks nothing)\n", s.sshPort)
	if s.headless {
		fmt.Println("the machine runs on; ./scripts/run --stop powers it off")
		return nil
	}
	ended()
	return attach(ctx, vm)
}

// build makes the ISO unless it is there.
func build(ctx context.Context, s settings) error {
	if s.bootHD {
		return nil
	}
	_, err := os.Stat(s.iso)
	if err == nil || s.iso != defaultISO {
		return err
	}
	fmt.Println("no ISO yet: ./build.sh")
	cmd := exec.CommandContext(ctx, "./build.sh")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build.sh: %w", err)
	}
	return nil
}

// machineKey returns the key with which this program and scripts/ssh log in.
func machineKey(dir string) (qemutest.Key, error) {
	const comment = "bulkhead-run"
	path := filepath.Join(dir, "id_ed25519")
	if private, err := os.ReadFile(path); err == nil {
		return qemutest.ParseKey(private, comment)
	}
	key, err := qemutest.NewKey(comment)
	if err != nil {
		return key, err
	}
	return key, os.WriteFile(path, key.PEM, 0o600)
}

// developerKeys returns the public keys of whoever runs this.
func developerKeys() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join(home, ".ssh", "*.pub"))
	var keys []string
	for _, file := range files {
		if content, err := os.ReadFile(file); err == nil {
			keys = append(keys, strings.TrimSpace(string(content)))
		}
	}
	return keys
}
