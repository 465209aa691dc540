package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
)

// consoleShell is what people get who name no command.
var consoleShell = []string{"/bin/bash", "-l"}

func (p places) consoleExecCommand() *cli.Command {
	flags := []cli.Flag{boolFlag("fresh", "in a new container of the shipped console")}
	return &cli.Command{
		Name: "exec", Usage: "run a command, or a shell, in the console as root", ArgsUsage: "[COMMAND [ARGUMENT…]]",
		Description: "It is the way in when there is no SSH: from a rescue shell, or from a privileged container of user Docker. Without\n" +
			"a console that runs, it makes a new one of the shipped image with the console's rights and mounts, without\n" +
			"System Docker in the file systems of this machine alone.\n\n" +
			"Examples:\n   sudo ros console exec\n   ros console exec --fresh ros service history console\n" +
			"   docker run --rm -it --privileged --pid host busybox nsenter -t 1 -m -u -n -i " + layout.Root + "/ros/bin/ros console exec",
		Flags: flags, BashComplete: complete(nil, flags),
		Action: func(c *cli.Context) error {
			command := c.Args().Slice()
			if len(command) == 0 {
				command = consoleShell
			}
			return withSudo(p.consoleExec(c.Context, command, c.Bool("fresh")))
		},
	}
}

// consoleExec turns this process into a command in the console. It returns only
// when that fails.
func (p places) consoleExec(ctx context.Context, command []string, fresh bool) error {
	decls, err := images.Load()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(decls, func(d images.Declaration) bool { return d.Name == images.Console })
	shipped, err := p.shipped(images.Console)
	if err != nil {
		return err
	}
	running, err := p.prepareConsole(ctx, shipped)
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "ros: without System Docker, in its image's files: %v\n", err)
		return enterImage(shipped, decls[i].Service, command)
	}
	docker := []string{"system-docker"}
	terminal := term.IsTerminal(int(os.Stdin.Fd()))
	if running && !fresh {
		docker = append(docker, execInConsole(terminal, command)...)
	} else {
		docker = append(docker, newConsole(decls[i].Service, shipped.Ref, terminal, command)...)
	}
	return p.exec(filepath.Join(layout.EngineBin, docker[0]), docker)
}

// prepareConsole reports whether the console runs. System Docker has its shipped
// image then.
func (p places) prepareConsole(ctx context.Context, shipped images.IndexEntry) (running bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	daemon, err := p.connect(p.systemSocket)
	if err != nil {
		return false, err
	}
	defer daemon.Close()
	list, err := daemon.Containers(ctx, "")
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(list, func(c dockerapi.Container) bool {
		return c.Name == images.Console && c.State == dockerapi.Running
	}) {
		return true, nil
	}
	if _, err = daemon.Image(ctx, shipped.Ref); dockerapi.IsNotFound(err) {
		_, err = loadArchive(ctx, daemon, preload.AsIs, filepath.Join(layout.ImagesDir, shipped.Archive))
	}
	return false, err
}

// execInConsole returns the arguments of system-docker for a command in the console
// that runs.
func execInConsole(terminal bool, command []string) []string {
	return slices.Concat([]string{"exec", "--interactive", fmt.Sprintf("--tty=%t", terminal), images.Console}, command)
}

// newConsole returns the arguments of system-docker for a command in a new container
// with the rights and mounts of the console.
func newConsole(s images.Service, image string, terminal bool, command []string) []string {
	args := []string{
		"run", "--rm", "--interactive", fmt.Sprintf("--tty=%t", terminal), "--log-driver=none", "--privileged",
		"--network=" + s.NetworkMode, "--pid=" + s.Pid, "--ipc=" + s.Ipc, "--uts=" + s.Uts, "--cgroupns=" + s.Cgroup,
	}
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		args = append(args, "--env="+name+"="+s.Environment[name])
	}
	for _, v := range s.Volumes {
		args = append(args, "--volume="+v)
	}
	return slices.Concat(args, []string{image}, command)
}

// execute turns the process into another program.
func execute(file string, args []string) error {
	return fmt.Errorf("run %s: %w", file, unix.Exec(file, args, os.Environ()))
}

// enterImage runs a command in the files of an image, which are layers of the
// root image, with the mounts of a service. What it changes in them is gone
// with it.
func enterImage(image images.IndexEntry, s images.Service, command []string) error {
	// Mounts are this process's own from here on, and of what it becomes.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	root, err := mountImage(image)
	if err != nil {
		return err
	}
	for _, v := range append([]string{"/proc:/proc", "/sys:/sys"}, s.Volumes...) {
		parts := strings.Split(v, ":")
		if err := bind(parts[0], filepath.Join(root, parts[1])); err != nil {
			fmt.Fprintf(os.Stderr, "ros: %v\n", err) // The shell is what matters.
		}
	}
	if err := errors.Join(unix.Chroot(root), unix.Chdir("/")); err != nil {
		return fmt.Errorf("enter %s: %w", root, err)
	}
	for name, value := range s.Environment {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	file, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return execute(file, command)
}

// mountImage mounts the layers of an image, below a layer in memory.
func mountImage(image images.IndexEntry) (root string, err error) {
	const base = "/run/console-exec" // each process mounts on it for itself
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "mode=0755,size=25%"); err != nil {
		return "", fmt.Errorf("mount tmpfs on %s: %w", base, err)
	}
	var layers []string
	for _, id := range image.DiffIDs {
		layers = append(layers, filepath.Join(layout.LayersDir, strings.TrimPrefix(id, "sha256:")))
	}
	slices.Reverse(layers)
	upper, work, root := filepath.Join(base, "upper"), filepath.Join(base, "work"), filepath.Join(base, "root")
	for _, dir := range []string{upper, work, root} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", strings.Join(layers, ":"), upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return "", fmt.Errorf("mount the layers of %s: %w", image.Ref, err)
	}
	return root, nil
}

// bind makes a file or directory appear at target, too, with what is mounted
// below.
func bind(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	dir := target
	if !info.IsDir() {
		dir = filepath.Dir(target)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !info.IsDir() {
		f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}
