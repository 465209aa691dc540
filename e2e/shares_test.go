package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
	"github.com/bulkhead-os/bulkhead/iso/debian"
	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/willscott/go-nfs"
	nfshelper "github.com/willscott/go-nfs/helpers"
)

// shelf is a folder whose owners, modes and times cannot be changed: the library
// refuses all files then, if nothing takes them.
type shelf struct{ billy.Filesystem }

func (shelf) Chmod(string, os.FileMode) error            { return nil }
func (shelf) Lchown(string, int, int) error              { return nil }
func (shelf) Chown(string, int, int) error               { return nil }
func (shelf) Chtimes(string, time.Time, time.Time) error { return nil }

// serveNFS serves a folder over NFS version 3 until the test ends.
func serveNFS(t *testing.T, dir string) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	files := shelf{osfs.New(dir)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = nfs.Serve(l, nfshelper.NewCachingHandler(nfshelper.NewNullAuthHandler(files), 1024))
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Files of another machine: a mount of the configuration, which containers see,
// and a volume of user Docker.
func TestNFS(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	dir := t.TempDir()
	port := serveNFS(t, dir)
	options := "nfsvers=3,tcp,mountproto=tcp,nolock,soft,port=" + port + ",mountport=" + port
	g.checkShare(t, dir, "nfs", "10.0.2.2:/", ":/", options)
}

// sambaConf has one share, to which everybody may write, on a port of loopback.
const sambaConf = `[global]
server role = standalone server
interfaces = lo
bind interfaces only = yes
smb ports = %s
disable netbios = yes
load printers = no
map to guest = bad user
[hold]
path = /hold
guest ok = yes
read only = no
force user = root
`

// serveCIFS has Debian's Samba serve a share named hold, and returns its port and
// folder.
func serveCIFS(t *testing.T) (port, folder string) {
	t.Helper()
	qemutest.Need(t, "mmdebstrap")
	root := filepath.Join(t.TempDir(), "samba")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	mirrors, err := debian.FindMirrors(ctx, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := mirrors.Bootstrap(ctx, root, []string{"samba"}).CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	folder = filepath.Join(root, "hold")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/samba/smb.conf"), fmt.Appendf(nil, sambaConf, port), 0o644); err != nil {
		t.Fatal(err)
	}
	// It ends with the test's context, before the folders go, and its whole process
	// group with it.
	server := exec.CommandContext(t.Context(), "chroot", root, "smbd", "--foreground", "--no-process-group", "--debug-stdout")
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() })
	return port, folder
}

// Files of a Windows machine: a mount of the configuration, and a volume of user
// Docker.
func TestCIFS(t *testing.T) {
	forRelease(t, "Samba takes minutes to fetch")
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	port, folder := serveCIFS(t)
	g.checkShare(t, folder, "cifs", "//10.0.2.2/hold", "//10.0.2.2/hold", "guest,port="+port)
}

// checkShare has containers write to a share, whose folder on the server this is:
// to a mount of the configuration from source, and to a volume of device.
func (g *guest) checkShare(t *testing.T, folder, kind, source, device, options string) {
	t.Helper()
	t.Run("a mount of the configuration", func(t *testing.T) {
		before := g.root(t, "cat %s 2>/dev/null || true", cloudConfig)
		defer func() {
			g.root(t, "umount /mnt/share")
			g.pipe(t, "sudo tee "+cloudConfig+" >/dev/null", strings.NewReader(before))
			g.root(t, "ros config apply")
		}()
		mounts := fmt.Sprintf("mounts:\n- ['%s', /mnt/share, %s, '%s']\n", source, kind, options)
		if r := g.pipe(t, "sudo ros config merge && sudo ros config apply", strings.NewReader(mounts)); r.Exit != 0 {
			t.Fatalf("%s%s", r.Stdout, r.Stderr)
		}
		g.eventually(t, "it is mounted", time.Minute, g.succeeds("findmnt -rno FSTYPE /mnt/share | grep -qx "+kind))
		g.sh(t, "docker run --rm -v /mnt/share:/share %s sh -c 'echo tea >/share/chest'", image)
		holds(t, folder, "chest", "tea\n")
	})
	t.Run("a volume", func(t *testing.T) {
		g.sh(t, "docker volume create -o type=%s -o o=addr=10.0.2.2,%s -o device=%s share", kind, options, device)
		g.sh(t, "docker run --rm -v share:/share %s sh -c 'echo salt >/share/barrel'; docker volume rm share", image)
		holds(t, folder, "barrel", "salt\n")
	})
}

// holds checks a file on the server.
func holds(t *testing.T, dir, name, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || string(got) != want {
		t.Errorf("%s on the server: %q, %v; want %q", name, got, err, want)
	}
}
