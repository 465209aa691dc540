// Command run boots the ISO in QEMU with a disk that lasts, for people who
// develop or try the system; scripts/run is its front door. Tests do not use
// it: they start their machines with package qemutest.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

//go:embed usage.txt
var usage string

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
	building, err := needsBuild(s)
	if err != nil {
		return err
	}
	if err := enough(s, dir, building); err != nil {
		return err
	}
	if building {
		fmt.Println("building the OS: the first time takes about eight minutes on two processors")
		if err := goRun(ctx, os.Stdout, "./cmd/mkos", "-fast"); err != nil {
			return err
		}
	}
	if err := machineTools(ctx); err != nil {
		return err
	}
	fmt.Println(acceleration())
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

// needsBuild reports whether there is no ISO yet that a build would make.
func needsBuild(s settings) (bool, error) {
	if s.bootHD {
		return false, nil
	}
	_, err := os.Stat(s.iso)
	if s.iso == defaultISO && errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// goRun runs a program of this repository.
func goRun(ctx context.Context, stdout io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "-buildvcs=false"}, args...)...)
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// machineTools has QEMU, and what makes disks for it, found before the host's.
func machineTools(ctx context.Context) error {
	var commands strings.Builder
	// The age of the package lists does not matter to a QEMU that is there.
	if err := goRun(ctx, &commands, "./cmd/mkos", "-machine-tools", "-max-list-age=8760h"); err != nil {
		return err
	}
	return os.Setenv("PATH", strings.TrimSpace(commands.String())+string(os.PathListSeparator)+os.Getenv("PATH"))
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

// developerKeys returns the public keys of the person who runs this.
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
