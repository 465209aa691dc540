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

	t.Run("a mount of the configuration", func(t *testing.T) {
		g.mountByConfig(t, "['10.0.2.2:/', /mnt/shelf, nfs, '"+options+"']")
		g.sh(t, "docker run --rm -v /mnt/shelf:/shelf %s sh -c 'echo tea >/shelf/hold'", image)
		holds(t, dir, "hold", "tea\n")
	})
	t.Run("a volume", func(t *testing.T) {
		g.sh(t, "docker volume create -o type=nfs -o o=addr=10.0.2.2,%s -o device=:/ shelf", options)
		g.sh(t, "docker run --rm -v shelf:/shelf %s sh -c 'echo salt >/shelf/barrel'; docker volume rm shelf", image)
		holds(t, dir, "barrel", "salt\n")
	})
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
	if out, err := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--variant=minbase", "--include=samba",
		debian.Suite, root, "deb "+mirrors.Main+" "+debian.Suite+" main").CombinedOutput(); err != nil {
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
	// It ends with the test's context, before the folders go.
	server := exec.CommandContext(t.Context(), "chroot", root, "smbd", "--foreground", "--no-process-group", "--debug-stdout")
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() })
	return port, folder
}

// Files of a Windows machine: a mount of the configuration, and a volume of user
// Docker. E2E_FULL=1 runs this: Samba takes minutes to bring.
func TestCIFS(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	port, folder := serveCIFS(t)

	t.Run("a mount of the configuration", func(t *testing.T) {
		g.mountByConfig(t, "['//10.0.2.2/hold', /mnt/hold, cifs, 'guest,port="+port+"']")
		g.sh(t, "docker run --rm -v /mnt/hold:/hold %s sh -c 'echo tea >/hold/chest'", image)
		holds(t, folder, "chest", "tea\n")
	})
	t.Run("a volume", func(t *testing.T) {
		g.sh(t, "docker volume create -o type=cifs -o o=addr=10.0.2.2,guest,port=%s -o device=//10.0.2.2/hold hold", port)
		g.sh(t, "docker run --rm -v hold:/hold %s sh -c 'echo salt >/hold/barrel'; docker volume rm hold", image)
		holds(t, folder, "barrel", "salt\n")
	})
}

// mountByConfig makes the configuration mount something, below /mnt, until the
// test ends.
func (g *guest) mountByConfig(t *testing.T, mount string) {
	t.Helper()
	fields := strings.FieldsFunc(mount, func(r rune) bool { return strings.ContainsRune("[], '", r) })
	before := g.root(t, "cat %s 2>/dev/null || true", cloudConfig)
	t.Cleanup(func() {
		g.root(t, "umount %s", fields[1])
		g.pipe(t, "sudo tee "+cloudConfig+" >/dev/null", strings.NewReader(before))
		g.root(t, "ros config apply")
	})
	if r := g.pipe(t, "sudo ros config merge && sudo ros config apply", strings.NewReader("mounts:\n- "+mount+"\n")); r.Exit != 0 {
		t.Fatalf("%s%s", r.Stdout, r.Stderr)
	}
	g.eventually(t, "it is mounted", time.Minute, g.succeeds("findmnt -rno FSTYPE "+fields[1]+" | grep -qx "+fields[2]))
}

// holds checks a file on the server.
func holds(t *testing.T, dir, name, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || string(got) != want {
		t.Errorf("%s on the server: %q, %v; want %q", name, got, err, want)
	}
}
