package pid1

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/layers"
)

// registerLimit bounds the registration of layers: some twenty small
// transactions, each of which waits for the disk.
const registerLimit = time.Minute

// startImages begins what needs containerd only, while the daemon starts: the
// layers of the shipped images become known, then the orchestrator, which
// loads those images, can start. A layer that cannot be registered costs the
// services that need it, not the machine.
func (s *system) startImages(ctx context.Context) error {
	s.guard("images", func() {
		err := s.registerLayers(ctx)
		switch {
		case errors.Is(err, layers.ErrDamaged):
			s.fail("layers", err)
			return
		case err != nil:
			s.announce(kmsg.Failure("system-docker/layers", err, "services with these layers do not start; see "+layout.SystemLog))
		}
		if err := s.startOrchestrator(); err != nil {
			s.fail("orchestrator", err)
		}
	})
	return nil
}

func (s *system) registerLayers(ctx context.Context) error {
	client, err := s.connectContainerd(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	start := bootlog.Now()
	ctx, cancel := context.WithTimeout(ctx, registerLimit)
	defer cancel()
	done, err := register(ctx, client)
	s.record("layers", start, err)
	for _, a := range done {
		s.log.Info("layer", "action", a.String(), "layer", a.Layer)
	}
	return err
}

func register(ctx context.Context, client *containerd.Client) ([]layers.Action, error) {
	idx, err := images.ReadIndex(layout.ImageIndex)
	if err != nil {
		return nil, err
	}
	store, err := layers.New(client, layout.LayersDir)
	if err != nil {
		return nil, err
	}
	return store.Register(ctx, idx)
}

// orchestratorMargin is what the orchestrator gets beyond the services' own
// stop limits.
const orchestratorMargin = 10 * time.Second

func (s *system) startOrchestrator() error {
	decls, err := images.Load()
	if err != nil {
		s.log.Error("service declarations", "err", err)
	}
	svc, err := s.supervise(program{
		name:      "orchestrator",
		path:      filepath.Join(layout.HostLibexecDir, "orchestrator"),
		oomScore:  oomDefault,
		stopLimit: stopLimit(decls),
	})
	if err != nil {
		return err
	}
	s.orchestrator.Store(svc)
	return nil
}

// stopLimit is how long the services may take to stop, one after another at
// worst.
func stopLimit(decls []images.Declaration) time.Duration {
	total := orchestratorMargin
	for _, d := range decls {
		total += d.Service.Grace()
	}
	return total
}
