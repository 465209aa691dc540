// Package layers makes the layers of the shipped images known to containerd
// without unpacking them. Each layer lies ready as a directory in the root
// image; a containerd snapshot whose directory is a symbolic link to it is as
// good as an unpacked one. Once an image's chain of snapshots exists, loading
// the image costs a few milliseconds and no memory (docs/adr/002).
//
// It knows snapshots only: the image records come from `docker load` through
// the daemon, and containers are the orchestrator's.
package layers

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/bulkhead-os/bulkhead/images"
)

const (
	// Snapshotter is the containerd plugin that the daemon uses. Its option
	// upperdir_label must be on: it tells where a snapshot's directory is.
	Snapshotter = "overlayfs"
	// Namespace is the daemon's default containerd namespace.
	Namespace = "moby"

	labelUpperDir = "containerd.io/snapshot/overlay.upperdir"
	// labelGCRoot keeps a snapshot that no image refers to yet.
	labelGCRoot = "containerd.io/gc.root"
	// labelLayer marks the snapshots made here; its value is the hex diff ID.
	labelLayer = "io.bulkhead.layer"
	// unfinishedPrefix, the boot's ID and a random text name a snapshot while
	// it is being made: those of other boots are left-overs.
	unfinishedPrefix = "bulkhead-"
)

// ErrDamaged means that containerd's databases contradict each other, which
// only a fresh store cures.
var ErrDamaged = errors.New("containerd's store is damaged")

// A Store is containerd's snapshots on one side and the directory of ready
// layers on the other.
type Store struct {
	snapshots snapshots.Snapshotter
	layersDir string
	keyPrefix string
}

// New returns the store of the containerd behind client. Each directory in
// layersDir is named by the hex part of its layer's diff ID.
func New(client *containerd.Client, layersDir string) (Store, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Store{}, err
	}
	return Store{
		snapshots: client.SnapshotService(Snapshotter),
		layersDir: layersDir,
		keyPrefix: unfinishedPrefix + string(bytes.TrimSpace(id)) + "-",
	}, nil
}

// Register makes, repairs and releases snapshots until every image of idx has
// its chain, and returns what it did: nothing when all was well. One broken
// layer does not keep the others from being registered; the error joins all.
//
// Several calls may run at once, in any number of processes.
func (s Store) Register(ctx context.Context, idx images.Index) ([]Action, error) {
	ctx = namespaces.WithNamespace(ctx, Namespace)
	todo, err := s.plan(ctx, idx)
	if err != nil {
		return nil, err
	}
	var done []Action
	var errs []error
	for _, a := range todo {
		if err := s.do(ctx, a); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a, err))
			continue
		}
		done = append(done, a)
	}
	return done, errors.Join(errs...)
}

// Verify returns what Register would do, without doing it.
func (s Store) Verify(ctx context.Context, idx images.Index) ([]Action, error) {
	return s.plan(namespaces.WithNamespace(ctx, Namespace), idx)
}

func (s Store) plan(ctx context.Context, idx images.Index) ([]Action, error) {
	wanted, err := chain(idx)
	if err != nil {
		return nil, err
	}
	have, err := s.scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	return plan(wanted, have, s.keyPrefix), nil
}

// scan reads the state of all snapshots and of their directories.
func (s Store) scan(ctx context.Context) (map[string]snapshot, error) {
	have := make(map[string]snapshot)
	err := s.snapshots.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		sn := snapshot{
			committed: info.Kind == snapshots.KindCommitted,
			layer:     info.Labels[labelLayer],
			pinned:    info.Labels[labelGCRoot] != "",
			dir:       info.Labels[labelUpperDir],
		}
		if sn.dir == "" {
			return fmt.Errorf("snapshot %s has no label %s: containerd's overlayfs snapshotter needs upperdir_label", info.Name, labelUpperDir)
		}
		if sn.committed {
			sn.content, sn.target = inspect(sn.dir, s.layersDir)
		}
		have[info.Name] = sn
		return nil
	})
	return have, err
}

// inspect says what a snapshot's directory is; for a link into layersDir also
// which layer it leads to.
func inspect(dir, layersDir string) (content, string) {
	if to, err := os.Readlink(dir); err == nil {
		if filepath.Dir(to) != layersDir {
			return isBroken, ""
		}
		if fi, err := os.Stat(to); err != nil || !fi.IsDir() {
			return isBroken, ""
		}
		return isLink, filepath.Base(to)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return isBroken, ""
	}
	return isUnpacked, ""
}

func (s Store) do(ctx context.Context, a Action) error {
	switch a.Verb {
	case Make:
		return s.make(ctx, a)
	case Relink:
		if err := s.link(a.Layer, a.dir); err != nil {
			return err
		}
		return s.pin(ctx, a)
	case Pin:
		return s.pin(ctx, a)
	case Release:
		return s.setLabels(ctx, a.Name, map[string]string{labelGCRoot: ""})
	case Discard:
		err := s.snapshots.Remove(ctx, a.Name)
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
	return fmt.Errorf("BUG: unknown verb %q", a.Verb)
}

func (s Store) make(ctx context.Context, a Action) error {
	key := s.keyPrefix + rand.Text()
	labels := snapshots.WithLabels(map[string]string{labelGCRoot: "bulkhead", labelLayer: a.Layer})
	if _, err := s.snapshots.Prepare(ctx, key, a.parent, labels); err != nil {
		return err
	}
	err := s.fill(ctx, key, a.Layer)
	if err == nil {
		err = s.snapshots.Commit(ctx, a.Name, key, labels)
	}
	if err == nil {
		return nil
	}
	if rmErr := s.snapshots.Remove(ctx, key); rmErr != nil {
		return errors.Join(err, rmErr)
	}
	if !errdefs.IsAlreadyExists(err) {
		return err
	}
	// Another registration was faster, unless only one of containerd's two
	// databases knows the snapshot.
	if _, statErr := s.snapshots.Stat(ctx, a.Name); statErr != nil {
		return fmt.Errorf("%w: %w, but %w", ErrDamaged, err, statErr)
	}
	return nil
}

// fill gives the unfinished snapshot key the layer as its content.
func (s Store) fill(ctx context.Context, key, layer string) error {
	info, err := s.snapshots.Stat(ctx, key)
	if err != nil {
		return err
	}
	return s.link(layer, info.Labels[labelUpperDir])
}

// link makes dir a symbolic link to the layer's directory.
func (s Store) link(layer, dir string) error {
	target := filepath.Join(s.layersDir, layer)
	if _, err := os.Stat(target); err != nil {
		return fmt.Errorf("layer missing in the OS image: %w", err)
	}
	// A power cut can lose the directory of a snapshot that is in the database.
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Symlink(target, dir)
}

func (s Store) pin(ctx context.Context, a Action) error {
	return s.setLabels(ctx, a.Name, map[string]string{labelGCRoot: "bulkhead", labelLayer: a.Layer})
}

// setLabels sets single labels; an empty value removes one.
func (s Store) setLabels(ctx context.Context, name string, labels map[string]string) error {
	var fields []string
	for k := range labels {
		fields = append(fields, "labels."+k)
	}
	_, err := s.snapshots.Update(ctx, snapshots.Info{Name: name, Labels: labels}, fields...)
	return err
}
