package pid1

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/wait"
)

// containerdTemplate is the configuration of the system tier's containerd.
//
//go:embed containerd.toml
var containerdTemplate string

// containerdPaths are what the template is filled with.
type containerdPaths struct{ Root, State, Socket string }

func containerdConfig(p containerdPaths) ([]byte, error) {
	t, err := template.New("containerd.toml").Parse(containerdTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

const (
	// containerdReady is how long containerd may take to answer: it opens its
	// databases and looks at each container first, from a slow disk perhaps.
	containerdReady = 2 * time.Minute
	// containerdStop is its time to end. It has nothing to finish; the
	// containers are over by then.
	containerdStop = 5 * time.Second
	// earlyEnds in a row, each this soon and before there was a socket, mean
	// that containerd cannot live with what it finds on disk.
	earlyEnds = 4
	early     = 15 * time.Second
)

// startContainerd writes the configuration and starts containerd. What waits
// for it to answer is startImages.
func (s *system) startContainerd(context.Context) error {
	conf, err := containerdConfig(containerdPaths{
		Root:   layout.SystemContainerdRoot,
		State:  layout.SystemContainerdState,
		Socket: layout.SystemContainerdSocket,
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(layout.SystemExecRoot, 0o700); err != nil {
		return err
	}
	if err := removeIfThere(layout.SystemContainerdReady); err != nil {
		return err
	}
	path := filepath.Join(layout.SystemExecRoot, "containerd.toml")
	if err := os.WriteFile(path, conf, 0o644); err != nil {
		return err
	}
	count := earlyCounter{limit: earlyEnds}
	s.containerd, err = s.supervise(program{
		name:      "containerd",
		path:      filepath.Join(layout.EngineBin, "containerd"),
		args:      []string{"--config", path},
		oomScore:  oomEngine,
		stopLimit: containerdStop,
		before: func() error {
			// Its own, left by one that was killed: clients must see that
			// nobody is there, and a new one can listen.
			return errors.Join(removeIfThere(layout.SystemContainerdSocket), removeIfThere(layout.SystemContainerdSocket+".ttrpc"))
		},
		ended: func(ran time.Duration, err error) {
			_, statErr := os.Stat(layout.SystemContainerdSocket)
			if count.ended(statErr == nil || ran > early) {
				s.fail("containerd", fmt.Errorf("%w, %d times in a row; it said: %s", err, earlyEnds, s.containerd.out.lastLine()))
			}
		},
	})
	return err
}

// An earlyCounter counts how often a program ended before it was of any use.
type earlyCounter struct{ limit, n int }

// ended says whether the limit is reached with this end.
func (c *earlyCounter) ended(served bool) bool {
	if served {
		c.n = 0
		return false
	}
	c.n++
	return c.n == c.limit
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// connectContainerd returns a client once containerd answers.
func (s *system) connectContainerd(ctx context.Context) (*containerd.Client, error) {
	start := bootlog.Now()
	ctx, cancel := context.WithTimeout(ctx, containerdReady)
	defer cancel()
	err := wait.Until(ctx, wait.Socket(layout.SystemContainerdSocket), nil)
	if err == nil {
		err = os.Symlink(layout.SystemContainerdSocket, layout.SystemContainerdReady)
	}
	if err != nil {
		s.record("containerd", start, err)
		return nil, err
	}
	client, err := containerd.New(layout.SystemContainerdSocket, containerd.WithTimeout(containerdReady))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	// The health service answers when all plugins have started.
	serving, err := client.IsServing(ctx)
	if err == nil && !serving {
		err = errors.New("containerd says it is not serving")
	}
	s.record("containerd", start, err)
	if err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}
