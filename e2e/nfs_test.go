package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	holds := func(t *testing.T, name, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s on the server: %q, %v; want %q", name, got, err, want)
		}
	}

	t.Run("a mount of the configuration", func(t *testing.T) {
		before := g.root(t, "cat %s 2>/dev/null || true", cloudConfig)
		defer func() {
			g.root(t, "umount /mnt/shelf")
			g.pipe(t, "sudo tee "+cloudConfig+" >/dev/null", strings.NewReader(before))
			g.root(t, "ros config apply")
		}()
		if r := g.pipe(t, "sudo ros config merge && sudo ros config apply", strings.NewReader(
			"mounts:\n- ['10.0.2.2:/', /mnt/shelf, nfs, '"+options+"']\n")); r.Exit != 0 {
			t.Fatalf("%s%s", r.Stdout, r.Stderr)
		}
		g.eventually(t, "it is mounted", time.Minute, g.succeeds("findmnt -rno FSTYPE /mnt/shelf | grep -qx nfs"))
		g.sh(t, "docker run --rm -v /mnt/shelf:/shelf %s sh -c 'echo tea >/shelf/hold'", image)
		holds(t, "hold", "tea\n")
	})
	t.Run("a volume", func(t *testing.T) {
		g.sh(t, "docker volume create -o type=nfs -o o=addr=10.0.2.2,%s -o device=:/ shelf", options)
		g.sh(t, "docker run --rm -v shelf:/shelf %s sh -c 'echo salt >/shelf/barrel'; docker volume rm shelf", image)
		holds(t, "barrel", "salt\n")
	})
}
