package layers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/moby/moby/api/types/container"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/testengine"
	"github.com/bulkhead-os/bulkhead/iso/image"
	"github.com/bulkhead-os/bulkhead/iso/layer"
)

// TestIntegrationEngine registers two layers, a program and a text, with a real
// containerd, and runs an image of them.
func TestIntegrationEngine(t *testing.T) {
	f := newFixture(t)
	names := f.chainIDs()

	t.Run("register", func(t *testing.T) {
		f.register(t, "make snapshot "+names[0], "make snapshot "+names[1])
		f.register(t)
	})
	t.Run("run", func(t *testing.T) {
		f.loadAndRun(t)
		if _, err := os.Stat(filepath.Join(f.layersDir, f.index.Images[0].DiffIDs[1][7:], "written")); err == nil {
			t.Error("the container wrote into the layer")
		}
	})
	t.Run("damage is repaired", func(t *testing.T) {
		for _, damage := range []struct {
			name string
			do   func(t *testing.T, dir string)
		}{
			{"dangling", func(t *testing.T, dir string) { replace(t, dir, "/nowhere") }},
			{"wrong layer", func(t *testing.T, dir string) {
				replace(t, dir, filepath.Join(f.layersDir, f.index.Images[0].DiffIDs[1][7:]))
			}},
			{"empty directory", func(t *testing.T, dir string) { must(t, os.Remove(dir)); must(t, os.Mkdir(dir, 0o755)) }},
			{"no directory", func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Dir(dir))) }},
		} {
			t.Run(damage.name, func(t *testing.T) {
				damage.do(t, f.dir(t, names[0]))
				f.register(t, "relink snapshot "+names[0])
				f.register(t)
				f.loadAndRun(t)
			})
		}
	})
	t.Run("missing snapshot is made", func(t *testing.T) {
		f.collect(t, names[1])
		f.register(t, "make snapshot "+names[1])
		f.loadAndRun(t)
	})
	t.Run("half-made snapshot is discarded", func(t *testing.T) {
		_, err := f.snapshots().Prepare(f.ctx(t), "bulkhead-other-boot-1", names[0])
		must(t, err)
		f.register(t, "discard snapshot bulkhead-other-boot-1")
		f.register(t)
	})
	t.Run("old layers are released", func(t *testing.T) {
		full := f.index
		f.index = images.Index{Images: []images.IndexEntry{full.Images[0]}}
		f.index.Images[0].DiffIDs = full.Images[0].DiffIDs[:1]
		f.register(t, "release snapshot "+names[1])
		f.register(t)
		f.index = full
		f.index.Images[0].DiffIDs = full.Images[0].DiffIDs[:2]
		f.register(t, "pin snapshot "+names[1])
	})
	t.Run("layer missing in the OS image", func(t *testing.T) {
		bad := f.index
		bad.Images = append(slices.Clone(bad.Images), images.IndexEntry{Name: "bad", DiffIDs: []string{"sha256:" + digestOf("bad")}})
		done, err := f.store.Register(t.Context(), bad)
		if !errors.Is(err, os.ErrNotExist) || len(done) > 0 {
			t.Errorf("Register() = %v, %v; want nothing done and ErrNotExist", done, err)
		}
		f.register(t)
	})
	t.Run("many at once", func(t *testing.T) {
		f.collect(t, names...)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := f.store.Register(context.Background(), f.index); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		f.register(t)
		f.loadAndRun(t)
	})
}

type fixture struct {
	engine     *testengine.Engine
	client     *dockerapi.Client
	containerd *containerd.Client
	store      Store
	index      images.Index
	archive    []byte
	layersDir  string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	testengine.Require(t)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: install busybox-static")
	}
	f := &fixture{engine: testengine.Start(t)}
	f.layersDir = filepath.Join(f.engine.Dir, "layers")
	program, err := os.ReadFile(busybox)
	must(t, err)
	lower, upper := digestOf("lower"), digestOf("upper")
	for name, content := range map[string][]byte{
		lower + "/bin/busybox": program, upper + "/etc/text": []byte("all well\n"),
	} {
		path := filepath.Join(f.layersDir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, content, 0o755))
	}
	decl := images.Declaration{Name: "test"}
	// Nothing ever sees the blobs, so their digests need not be true.
	img, err := image.New(decl, "1", []layer.Layer{{Name: "lower", DiffID: lower}, {Name: "upper", DiffID: upper}}, nil)
	must(t, err)
	f.archive, err = img.Bare()
	must(t, err)
	f.index = images.Index{Images: []images.IndexEntry{img.IndexEntry()}}

	f.client, err = dockerapi.New(f.engine.Socket)
	must(t, err)
	t.Cleanup(func() { f.client.Close() })
	f.containerd, err = containerd.New(f.engine.Containerd)
	must(t, err)
	t.Cleanup(func() { f.containerd.Close() })
	f.store, err = New(f.containerd, f.layersDir)
	must(t, err)
	return f
}

// register expects Verify to announce and Register to do just these actions.
func (f *fixture) register(t *testing.T, want ...string) {
	t.Helper()
	f.expect(t, "Verify", f.store.Verify, want)
	f.expect(t, "Register", f.store.Register, want)
}

func (f *fixture) expect(t *testing.T, name string, call func(context.Context, images.Index) ([]Action, error), want []string) {
	t.Helper()
	done, err := call(t.Context(), f.index)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range done {
		got = append(got, a.String())
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %q; want %q", name, got, want)
	}
}

// loadAndRun loads the archive, which has no layers, and runs a program that
// reads the upper layer and writes to its container.
func (f *fixture) loadAndRun(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, f.client.LoadImage(ctx, bytes.NewReader(f.archive)))
	id, err := f.client.Create(ctx, "test", dockerapi.Spec{
		Config: &container.Config{
			Image: f.index.Images[0].Ref,
			Cmd:   []string{"/bin/busybox", "sh", "-c", `echo > /written && [ "$(/bin/busybox cat /etc/text)" = "all well" ]`},
		},
		Host: &container.HostConfig{NetworkMode: "none"},
	})
	must(t, err)
	defer func() { must(t, f.client.Remove(context.WithoutCancel(ctx), id)) }()
	must(t, f.client.Start(ctx, id))
	for {
		list, err := f.client.Containers(ctx, "")
		must(t, err)
		if len(list) == 1 && list[0].State == dockerapi.Exited {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if code, err := f.client.ExitCode(ctx, id); err != nil || code != 0 {
		t.Errorf("container ended with %d, %v; want 0", code, err)
	}
}

func (f *fixture) chainIDs() []string {
	links, err := chain(f.index)
	if err != nil {
		panic(err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.name)
	}
	return names
}

func (f *fixture) snapshots() snapshots.Snapshotter { return f.store.snapshots }

func (f *fixture) ctx(t *testing.T) context.Context {
	return namespaces.WithNamespace(t.Context(), Namespace)
}

// collect lets containerd garbage-collect the snapshot of a removed image.
// (A plain removal it refuses once there was a container on the snapshot.)
func (f *fixture) collect(t *testing.T, names ...string) {
	t.Helper()
	if err := f.client.RemoveImage(t.Context(), f.index.Images[0].Ref); err != nil && !dockerapi.IsNotFound(err) {
		t.Fatal(err)
	}
	for _, name := range names {
		must(t, f.store.setLabels(f.ctx(t), name, map[string]string{labelGCRoot: ""}))
	}
	ls := f.containerd.LeasesService()
	lease, err := ls.Create(f.ctx(t), leases.WithRandomID())
	must(t, err)
	must(t, ls.Delete(f.ctx(t), lease, leases.SynchronousDelete))
}

// dir returns the directory of a snapshot.
func (f *fixture) dir(t *testing.T, name string) string {
	t.Helper()
	info, err := f.snapshots().Stat(f.ctx(t), name)
	must(t, err)
	dir := info.Labels[labelUpperDir]
	if !strings.HasPrefix(dir, f.engine.Dir) {
		t.Fatalf("snapshot %s is in %q", name, dir)
	}
	return dir
}

func replace(t *testing.T, link, target string) {
	t.Helper()
	must(t, os.Remove(link))
	must(t, os.Symlink(target, link))
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
