package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// services are the OS services that must be there and healthy.
var services = []string{"acpid", "cloud-init", "console", "docker", "network", "ntp", "syslog", "udev"}

// readyLine is the last console line of a boot.
var readyLine = regexp.MustCompile(`bulkhead: ready in [\d.]+ s \(system docker [\d.]+ s, user docker (not ready|[\d.]+ s)\)`)

// expected are console lines that look like trouble in every machine and are
// none; tests allow what they provoke themselves.
var expected = []*regexp.Regexp{
	// A clock decides this, and an emulated processor on a busy host is late.
	// The ready line and the services' health say whether all came up.
	regexp.MustCompile(`bulkhead: FAILED step=services/\S+ cause="not ready after`),
}

// Deadlines, before scaling (see qemutest.Scaled).
const (
	bootDeadline    = 45 * time.Second
	loginDeadline   = 15 * time.Second
	commandDeadline = 60 * time.Second
)

// A guest is a booted machine that one can log in to.
type guest struct {
	*qemutest.VM
	key    qemutest.Key
	client *qemutest.Client
	// start is the console position where the present boot began.
	start int
}

// A seedDisk is a configuration disk and the key that it brings.
type seedDisk struct {
	disk qemutest.Disk
	key  qemutest.Key
}

// newSeed makes a config-2 disk with a fresh key; extra is appended to the
// cloud-config.
func newSeed(dir string, extra ...string) (seedDisk, error) {
	return writeSeed(dir, qemutest.Config2, qemutest.ISO9660, extra...)
}

func writeSeed(dir string, kind qemutest.SeedKind, format qemutest.SeedFormat, extra ...string) (seedDisk, error) {
	key, err := qemutest.NewKey("e2e")
	if err != nil {
		return seedDisk{}, err
	}
	path := filepath.Join(dir, "seed.img")
	seed := qemutest.Seed{
		Kind: kind, Format: format,
		UserData: "#cloud-config\nhostname: ship\nssh_authorized_keys:\n  - " + key.Authorized + "\n" + strings.Join(extra, ""),
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := seed.Write(ctx, path); err != nil {
		return seedDisk{}, err
	}
	return seedDisk{disk: qemutest.Disk{Path: path, ReadOnly: true}, key: key}, nil
}

// start boots a machine with a seed disk as its last disk and waits until it
// is ready and a login works.
func start(t *testing.T, o qemutest.Options, seed seedDisk, allow ...*regexp.Regexp) *guest {
	t.Helper()
	return boot(t, seed.in(o), seed.key, allow...)
}

// in has the seed disk as the last one of a machine.
func (seed seedDisk) in(o qemutest.Options) qemutest.Options {
	o.Disks = append(o.Disks[:len(o.Disks):len(o.Disks)], seed.disk)
	return o
}

// boot is start for a machine that gets the key otherwise.
func boot(t *testing.T, o qemutest.Options, key qemutest.Key, allow ...*regexp.Regexp) *guest {
	t.Helper()
	g := &guest{VM: qemutest.StartT(t, o, append(allow, expected...)...), key: key}
	if err := g.awaitReady(0); err != nil {
		t.Fatal(err)
	}
	return g
}

// awaitReady waits for the ready line of the boot that began at a console
// position and logs in.
func (g *guest) awaitReady(mark int) error {
	user, err := g.awaitSystem(mark)
	if err != nil || user != "not ready" {
		return err
	}
	// On a busy host the orchestrator stops waiting before user Docker is up.
	return g.repeat("user Docker answers", bootDeadline, g.succeeds("docker info"))
}

// awaitSystem is awaitReady without user Docker, of which it returns what the
// ready line says.
func (g *guest) awaitSystem(mark int) (userDocker string, err error) {
	g.start = mark
	ready, err := g.AwaitConsole("ready line", bootDeadline, mark, readyLine)
	if err != nil {
		return "", err
	}
	if g.client != nil {
		g.client.Close()
	}
	return ready[1], g.login()
}

// login logs in for the first time in a boot.
func (g *guest) login() (err error) {
	g.client, err = g.AwaitSSH(loginDeadline, qemutest.LoginKey("rancher", g.key))
	return err
}

// connect logs in again when the connection is gone.
func (g *guest) connect() error {
	if !g.client.Ended() {
		return nil
	}
	client, err := g.AwaitSSH(recovery, qemutest.LoginKey("rancher", g.key))
	if err == nil {
		g.client = client
	}
	return err
}

// try runs a shell command as rancher and returns what it did.
func (g *guest) try(t testing.TB, command string) qemutest.Result {
	t.Helper()
	return g.pipe(t, command, nil)
}

// pipe is try with input.
func (g *guest) pipe(t testing.TB, command string, stdin io.Reader) (result qemutest.Result) {
	t.Helper()
	result, err := g.run(command, stdin)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// run is pipe for callers without a test.
func (g *guest) run(command string, stdin io.Reader) (result qemutest.Result, err error) {
	err = g.Await("command "+shorten(command), commandDeadline, func(ctx context.Context) error {
		err := g.connect()
		if err == nil {
			result, err = g.client.Run(ctx, command, stdin)
		}
		return err
	})
	return result, err
}

// sh runs a shell command as rancher, which must succeed, and returns what it
// printed, without the last newline.
func (g *guest) sh(t testing.TB, format string, args ...any) string {
	t.Helper()
	command := fmt.Sprintf(format, args...)
	r := g.try(t, command)
	if r.Exit != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", command, r.Exit, r.Stdout, r.Stderr)
	}
	return strings.TrimRight(r.Stdout, "\n")
}

// root is sh as root, in the console's view of the whole machine.
func (g *guest) root(t testing.TB, format string, args ...any) string {
	t.Helper()
	return g.sh(t, "sudo sh -c %s", quote(fmt.Sprintf(format, args...)))
}

// eventually repeats a check until it returns nil.
func (g *guest) eventually(t testing.TB, name string, deadline time.Duration, check func() error) {
	t.Helper()
	if err := g.repeat(name, deadline, check); err != nil {
		t.Fatal(err)
	}
}

// repeat is eventually for callers without a test.
func (g *guest) repeat(name string, deadline time.Duration, check func() error) error {
	return g.Await(name, deadline, func(ctx context.Context) error {
		for {
			err := check()
			if err == nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
			case <-time.After(time.Second):
			}
		}
	})
}

// output runs a command that may fail, in the connection's failure too, as
// long as the machine recovers.
func (g *guest) output(command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), qemutest.Scaled(10*time.Second))
	defer cancel()
	if err := g.connect(); err != nil {
		return "", err
	}
	r, err := g.client.Run(ctx, command, nil)
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("%s: exit code %d: %s%s", shorten(command), r.Exit, r.Stdout, r.Stderr)
	}
	return r.Stdout, err
}

// succeeds is a check that a command exits with 0.
func (g *guest) succeeds(command string) func() error {
	return func() error {
		_, err := g.output(command)
		return err
	}
}

// quote makes one shell word of a text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// shorten keeps a command readable in a message.
func shorten(command string) string {
	if len(command) > 120 {
		return command[:120] + "…"
	}
	return command
}

// image is the name of the image that needImage brings.
const image = "busybox:e2e"

// needImage brings a busybox image into user Docker unless it is there.
func (g *guest) needImage(t testing.TB) {
	t.Helper()
	if g.try(t, "docker image inspect "+image).Exit == 0 {
		return
	}
	g.importImage(t, "docker", image)
}

// importImage makes an image from the build machine's busybox.
func (g *guest) importImage(t testing.TB, docker, name string) {
	t.Helper()
	if err := g.bringImage(docker, name); err != nil {
		t.Fatal(err)
	}
}

// bringImage is importImage for callers without a test.
func (g *guest) bringImage(docker, name string) error {
	var archive bytes.Buffer
	if err := qemutest.WriteBusybox(&archive, nil); err != nil {
		return err
	}
	r, err := g.run(docker+` import -c 'CMD ["sh"]' - `+name, &archive)
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("%s import: %s", docker, r.Stderr)
	}
	return err
}

// clean removes all user containers after a test.
func (g *guest) clean(t testing.TB) {
	t.Cleanup(func() { g.try(t, "docker rm -f $(docker ps -qa)") })
}

// awaitHealthy waits until every OS service, except some, is running and
// healthy.
func (g *guest) awaitHealthy(t testing.TB, deadline time.Duration, except ...string) {
	t.Helper()
	g.eventually(t, "every service healthy", deadline, g.healthy(except))
}

// healthy is a check that every OS service, except some, is running and healthy.
func (g *guest) healthy(except []string) func() error {
	return func() error {
		list, err := g.output("sudo system-docker ps -a --format '{{.Names}} {{.Status}}'")
		if err != nil {
			return err
		}
		return unhealthy(list, except)
	}
}

// unhealthy says which services, except some, are missing, stopped or not
// healthy in a list of "name status" lines.
func unhealthy(list string, except []string) error {
	status := make(map[string]string)
	for line := range strings.Lines(list) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		status[name] = rest
	}
	var bad []string
	for _, name := range services {
		if slices.Contains(except, name) {
			continue
		}
		s := status[name]
		if !strings.HasPrefix(s, "Up ") || strings.Contains(s, "unhealthy") || strings.Contains(s, "health: starting") {
			bad = append(bad, fmt.Sprintf("%s (%s)", name, s))
		}
	}
	if bad != nil {
		return fmt.Errorf("not healthy: %s", strings.Join(bad, ", "))
	}
	return nil
}
