// Package testengine runs a real containerd and dockerd, built from go.mod,
// for integration tests: with directories and sockets of their own, without
// bridge and firewall rules. It is no part of the product.
package testengine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/wait"
)

// An Engine is a running containerd and dockerd.
type Engine struct {
	// Dir holds everything that belongs to the engine.
	Dir string
	// Socket is the Docker API's, Containerd containerd's.
	Socket, Containerd string

	t                   *testing.T
	bin                 string
	containerd, dockerd *process
}

// Start starts an engine that is stopped at the end of the test.
func Start(t *testing.T) *Engine {
	t.Helper()
	Require(t)
	bin := Build(t)
	// Not t.TempDir: unix socket paths end at 108 bytes.
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{
		Dir: dir, Socket: filepath.Join(dir, "docker.sock"), Containerd: filepath.Join(dir, "containerd.sock"), t: t, bin: bin,
	}
	t.Cleanup(e.clean)
	config := fmt.Sprintf(`version = 3
root = "%[1]s/containerd"
state = "%[1]s/run-containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "%[2]s"
[ttrpc]
  address = "%[2]s.ttrpc"
[plugins."io.containerd.snapshotter.v1.overlayfs"]
  upperdir_label = true
[plugins."io.containerd.service.v1.diff-service"]
  sync_fs = true
`, dir, e.Containerd)
	e.write("containerd.toml", config)
	e.write("daemon.json", "{}")
	e.StartContainerd()
	e.StartDockerd()
	return e
}

// StartContainerd starts containerd and waits for it.
func (e *Engine) StartContainerd() {
	e.t.Helper()
	e.containerd = e.run("containerd", "--log-level", "warn", "--config", filepath.Join(e.Dir, "containerd.toml"))
	e.await(wait.Socket(e.Containerd), e.containerd)
}

// StartDockerd starts the daemon and waits for its API.
func (e *Engine) StartDockerd() {
	e.t.Helper()
	e.dockerd = e.run("dockerd", "--config-file", filepath.Join(e.Dir, "daemon.json"),
		"--data-root", filepath.Join(e.Dir, "docker"), "--exec-root", filepath.Join(e.Dir, "run-docker"),
		"--pidfile", filepath.Join(e.Dir, "docker.pid"), "--host", "unix://"+e.Socket,
		"--containerd", e.Containerd, "--userland-proxy=false", "--bridge", "none", "--iptables=false", "--ip6tables=false")
	e.await(wait.DockerAPI(e.Socket), e.dockerd)
}

// StopContainerd ends containerd; its shims stay.
func (e *Engine) StopContainerd() { e.containerd.stop(e.t) }

// Pid returns the ID of the main process of a container, 0 when it has none.
func (e *Engine) Pid(container string) int {
	e.t.Helper()
	text, err := os.ReadFile(filepath.Join(e.Dir, "run-containerd", "io.containerd.runtime.v2.task", "moby", container, "init.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		e.t.Fatal(err)
	}
	return pid
}

func (e *Engine) await(c wait.Condition, p *process) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	defer cancel()
	go func() {
		select {
		case <-p.ended: // There is nothing to wait for any more.
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := wait.For(ctx, time.Minute, c, nil); err != nil {
		e.t.Fatalf("%v\n%s", err, p.log())
	}
}

// clean ends everything and removes the directory, file systems that are
// mounted in it included.
func (e *Engine) clean() {
	for _, p := range []*process{e.dockerd, e.containerd} {
		if p != nil {
			p.stop(e.t)
			if e.t.Failed() {
				e.t.Logf("log of %s:\n%s", p.cmd.Path, p.log())
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		e.t.Error(err)
	}
	for line := range bytes.Lines(mounts) {
		if fields := strings.Fields(string(line)); len(fields) > 1 && strings.HasPrefix(fields[1], e.Dir+"/") {
			_ = unix.Unmount(fields[1], unix.MNT_DETACH) // RemoveAll tells
		}
	}
	if err := os.RemoveAll(e.Dir); err != nil {
		e.t.Error(err)
	}
}

func (e *Engine) write(name, content string) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(e.Dir, name), []byte(content), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// A process is one daemon.
type process struct {
	cmd    *exec.Cmd
	output string // path of its log
	ended  chan struct{}
}

func (e *Engine) run(name string, args ...string) *process {
	e.t.Helper()
	output := filepath.Join(e.Dir, name+".log")
	f, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(filepath.Join(e.bin, name), args...)
	cmd.Env = append(os.Environ(), "PATH="+e.bin+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = f, f
	// A terminal's Ctrl-C is for the test, which then stops them in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	p := &process{cmd: cmd, output: output, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p
}

// stop sends SIGTERM, and SIGKILL after half a minute.
func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // It may have ended.
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		t.Errorf("%s does not end", p.cmd.Path)
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// log returns the end of what the process has said.
func (p *process) log() string {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8000):])
}
