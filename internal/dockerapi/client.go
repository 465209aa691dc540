// Package dockerapi is the part of the Docker Engine API that the OS uses, in
// few calls and plain types. It is the only importer of moby's client, so that
// the rest does not depend on how that evolves. It decides nothing and retries
// nothing.
package dockerapi

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
)

// IsNotFound reports whether err says that the container or image does not exist.
func IsNotFound(err error) bool { return errdefs.IsNotFound(err) }

// A Client talks to one daemon.
type Client struct{ api *client.Client }

// New returns a client of the daemon at the unix socket. It does not connect.
func New(socket string) (*Client, error) {
	api, err := client.New(client.WithHost("unix://"+socket), client.WithUserAgent("bulkhead"))
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", socket, err)
	}
	return &Client{api: api}, nil
}

// Close drops the idle connections.
func (c *Client) Close() error { return c.api.Close() }

// Info asks the daemon about itself.
func (c *Client) Info(ctx context.Context) (Info, error) {
	res, err := c.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return Info{}, fmt.Errorf("daemon info: %w", err)
	}
	return Info{
		ID: res.Info.ID, Version: res.Info.ServerVersion,
		Containers: res.Info.Containers, Running: res.Info.ContainersRunning, Paused: res.Info.ContainersPaused,
		Images: res.Info.Images, DataRoot: res.Info.DockerRootDir,
	}, nil
}

// Containers lists the containers, running or not, that have the label; label
// is "key" or "key=value", or empty for all. They are sorted by name.
func (c *Client) Containers(ctx context.Context, label string) ([]Container, error) {
	opts := client.ContainerListOptions{All: true}
	if label != "" {
		opts.Filters = make(client.Filters).Add("label", label)
	}
	res, err := c.api.ContainerList(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	list := make([]Container, len(res.Items))
	for i, s := range res.Items {
		list[i] = fromSummary(s)
	}
	slices.SortFunc(list, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func fromSummary(s container.Summary) Container {
	c := Container{
		ID: s.ID, Labels: maps.Clone(s.Labels), ImageID: s.ImageID,
		State: s.State, Health: string(container.NoHealthcheck), Status: s.Status,
		Created: time.Unix(s.Created, 0),
	}
	if len(s.Names) > 0 {
		c.Name = strings.TrimPrefix(s.Names[0], "/")
	}
	if s.Health != nil {
		c.Health = string(s.Health.Status)
	}
	return c
}

// Create makes a container and returns its ID.
func (c *Client) Create(ctx context.Context, name string, spec Spec) (string, error) {
	res, err := c.api.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: name, Config: spec.Config, HostConfig: spec.Host, NetworkingConfig: spec.Network,
	})
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", name, err)
	}
	return res.ID, nil
}

// Start starts a container; one that runs already is no error.
func (c *Client) Start(ctx context.Context, id string) error {
	if _, err := c.api.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("start container %.12s: %w", id, err)
	}
	return nil
}

// Stop stops a container within the grace period that it was created with.
func (c *Client) Stop(ctx context.Context, id string) error {
	if _, err := c.api.ContainerStop(ctx, id, client.ContainerStopOptions{}); err != nil {
		return fmt.Errorf("stop container %.12s: %w", id, err)
	}
	return nil
}

// SetRestart changes when the daemon starts a container again by itself.
func (c *Client) SetRestart(ctx context.Context, id string, policy RestartPolicy) error {
	if _, err := c.api.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{RestartPolicy: &policy}); err != nil {
		return fmt.Errorf("restart policy of container %.12s: %w", id, err)
	}
	return nil
}

// Restart stops a container within its grace period and starts it again.
func (c *Client) Restart(ctx context.Context, id string) error {
	if _, err := c.api.ContainerRestart(ctx, id, client.ContainerRestartOptions{}); err != nil {
		return fmt.Errorf("restart container %.12s: %w", id, err)
	}
	return nil
}

// ComesBack reports whether the daemon starts a container by itself when it
// starts.
func (c *Client) ComesBack(ctx context.Context, id string) (bool, error) {
	res, err := c.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return false, fmt.Errorf("inspect container %.12s: %w", id, err)
	}
	policy := res.Container.HostConfig.RestartPolicy
	return policy.IsAlways() || policy.IsUnlessStopped(), nil
}

// Rights returns what a container may do, and the number of its first process,
// which is 0 while it does not run.
func (c *Client) Rights(ctx context.Context, id string) (Rights, int, error) {
	res, err := c.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return Rights{}, 0, fmt.Errorf("inspect container %.12s: %w", id, err)
	}
	r := RightsOf(res.Container.HostConfig)
	r.Mounts = []string{} // by whatever option
	for _, m := range res.Container.Mounts {
		source := m.Source
		switch m.Type {
		case mount.TypeBind:
		case mount.TypeVolume:
			source = m.Name
		default:
			continue
		}
		text := source + ":" + m.Destination
		if !m.RW {
			text += ":ro"
		}
		r.Mounts = append(r.Mounts, text)
	}
	slices.Sort(r.Mounts)
	pid := 0
	if res.Container.State != nil {
		pid = res.Container.State.Pid
	}
	return r, pid, nil
}

// RightsOf returns what a container may do that is created with h.
func RightsOf(h *container.HostConfig) Rights {
	r := Rights{
		Privileged: h.Privileged, CapAdd: []string{}, AllDropped: slices.Contains(h.CapDrop, "ALL"),
		SecurityOpt: slices.Clone(h.SecurityOpt), ReadOnly: h.ReadonlyRootfs, Mounts: h.Binds,
		// Docker's own list has all of /proc/sys.
		NetSysctls: !h.Privileged && h.ReadonlyPaths != nil && !slices.Contains(h.ReadonlyPaths, "/proc/sys"),
		Memory:     h.Memory, OOMScoreAdj: h.OomScoreAdj, DeviceCgroupRules: h.DeviceCgroupRules,
	}
	// The command line turns the option into empty lists.
	if !h.Privileged && h.MaskedPaths != nil && len(h.MaskedPaths) == 0 {
		r.SecurityOpt = append(r.SecurityOpt, "systempaths=unconfined")
	}
	for _, name := range h.CapAdd {
		r.CapAdd = append(r.CapAdd, strings.TrimPrefix(name, "CAP_"))
	}
	for _, d := range h.Devices {
		r.Devices = append(r.Devices, d.PathOnHost)
	}
	for _, n := range []struct {
		key, mode string
	}{
		{"network_mode", string(h.NetworkMode)}, {"pid", string(h.PidMode)}, {"ipc", string(h.IpcMode)},
		{"uts", string(h.UTSMode)}, {"cgroup", string(h.CgroupnsMode)},
	} {
		if n.mode == "host" {
			r.HostNamespaces = append(r.HostNamespaces, n.key)
		}
	}
	return r
}

// EnsureNetwork makes a network of the daemon's default kind unless there is
// one of this name.
func (c *Client) EnsureNetwork(ctx context.Context, name string, labels map[string]string) error {
	_, err := c.api.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
	if errdefs.IsNotFound(err) {
		_, err = c.api.NetworkCreate(ctx, name, client.NetworkCreateOptions{Labels: labels})
		if errdefs.IsConflict(err) { // Somebody else was faster.
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("network %s: %w", name, err)
	}
	return nil
}

// Kill kills a container's processes without asking.
func (c *Client) Kill(ctx context.Context, id string) error {
	if _, err := c.api.ContainerKill(ctx, id, client.ContainerKillOptions{}); err != nil {
		return fmt.Errorf("kill container %.12s: %w", id, err)
	}
	return nil
}

// Logs writes what a container has said: the last lines, "all" or a number of
// them, and with follow what it says until ctx ends.
func (c *Client) Logs(ctx context.Context, id, last string, follow bool, stdout, stderr io.Writer) error {
	info, err := c.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return fmt.Errorf("logs of container %.12s: %w", id, err)
	}
	res, err := c.api.ContainerLogs(ctx, id, client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Follow: follow, Tail: last,
	})
	if err != nil {
		return fmt.Errorf("logs of container %.12s: %w", id, err)
	}
	defer res.Close()
	if info.Container.Config.Tty { // one stream, as it is
		_, err = io.Copy(stdout, res)
	} else {
		_, err = stdcopy.StdCopy(stdout, stderr, res)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("logs of container %.12s: %w", id, err)
	}
	return nil
}

// Remove kills and removes a container together with its anonymous volumes.
// One that does not exist is no error.
func (c *Client) Remove(ctx context.Context, id string) error {
	_, err := c.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %.12s: %w", id, err)
	}
	return nil
}

// ExitCode waits until a container has ended and returns its exit code.
func (c *Client) ExitCode(ctx context.Context, id string) (int64, error) {
	res := c.api.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case r := <-res.Result:
		if r.Error != nil {
			return 0, fmt.Errorf("wait for container %.12s: %s", id, r.Error.Message)
		}
		return r.StatusCode, nil
	case err := <-res.Error:
		return 0, fmt.Errorf("wait for container %.12s: %w", id, err)
	}
}

// Image looks an image up by reference or ID.
func (c *Client) Image(ctx context.Context, ref string) (Image, error) {
	res, err := c.api.ImageInspect(ctx, ref)
	if err != nil {
		return Image{}, fmt.Errorf("inspect image %s: %w", ref, err)
	}
	img := Image{ID: res.ID, DiffIDs: res.RootFS.Layers}
	if res.Config != nil {
		img.Labels = res.Config.Labels
	}
	return img, nil
}

// Images lists the images that have the label ("key" or "key=value"), newest
// first, without their layers.
func (c *Client) Images(ctx context.Context, label string) ([]Image, error) {
	res, err := c.api.ImageList(ctx, client.ImageListOptions{Filters: make(client.Filters).Add("label", label)})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var list []Image
	for _, s := range res.Items {
		list = append(list, Image{ID: s.ID, Labels: s.Labels})
	}
	return list, nil
}

// LoadImage feeds an image archive to the daemon.
func (c *Client) LoadImage(ctx context.Context, archive io.Reader) error {
	_, err := c.LoadImages(ctx, archive)
	return err
}

// LoadImages is LoadImage, and returns references or IDs of the images in the
// archive.
func (c *Client) LoadImages(ctx context.Context, archive io.Reader) ([]string, error) {
	res, err := c.api.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return nil, fmt.Errorf("load image: %w", err)
	}
	defer res.Close()
	// What goes wrong after the daemon began to answer is in the answer.
	lines, err := readStream("load image", res)
	var refs []string
	for _, line := range lines {
		for _, prefix := range []string{"Loaded image: ", "Loaded image ID: "} {
			if ref, ok := strings.CutPrefix(line, prefix); ok {
				refs = append(refs, ref)
			}
		}
	}
	return refs, err
}

// PullImage gets an image from its registry, with a login unless it is zero.
func (c *Client) PullImage(ctx context.Context, ref string, login Login) error {
	var opts client.ImagePullOptions
	if login != (Login{}) {
		encoded, err := authconfig.Encode(registry.AuthConfig(login))
		if err != nil {
			return fmt.Errorf("login for image %s: %w", ref, err)
		}
		opts.RegistryAuth = encoded
	}
	res, err := c.api.ImagePull(ctx, ref, opts)
	if err != nil {
		return fmt.Errorf("pull image %s: %w", ref, err)
	}
	if err := res.Wait(ctx); err != nil {
		return fmt.Errorf("pull image %s: %w", ref, err)
	}
	return nil
}

// RemoveImage removes an image even if containers use it. One that does not
// exist is no error.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	_, err := c.api.ImageRemove(ctx, ref, client.ImageRemoveOptions{Force: true, PruneChildren: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove image %s: %w", ref, err)
	}
	return nil
}

// Changes calls changed with the value of label of each container that has it
// whenever that container ends, is removed or becomes unhealthy or healthy, and
// once with "" as soon as it listens. It returns when the stream breaks.
func (c *Client) Changes(ctx context.Context, label string, changed func(value string, healthy bool)) error {
	// The stream must end when this returns for another reason than ctx.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Only what asks for an action: each health check makes three exec_ events.
	stream := c.api.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).
		Add("type", string(events.ContainerEventType)).
		Add("label", label).
		Add("event", string(events.ActionDie), string(events.ActionDestroy),
			string(events.ActionHealthStatusUnhealthy), string(events.ActionHealthStatusHealthy))})
	select {
	case err := <-stream.Err:
		return fmt.Errorf("event stream: %w", err)
	default:
		changed("", false)
	}
	for {
		select {
		case m := <-stream.Messages:
			changed(m.Actor.Attributes[label], m.Action == events.ActionHealthStatusHealthy)
		case err := <-stream.Err:
			return fmt.Errorf("event stream: %w", err)
		}
	}
}
