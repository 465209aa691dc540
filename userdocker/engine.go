package userdocker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
)

const (
	// lookAround is how often the engine checks its socket, requests and, after a
	// mistake in it, the user's daemon.json. While the boot waits for a daemon that
	// will not be restarted, it is lookClosely.
	lookAround  = 2 * time.Second
	lookClosely = 250 * time.Millisecond
	// shutdownRace is how much later than the signal the milestone Shutdown may
	// come.
	shutdownRace = 300 * time.Millisecond
	// reloadLimit is how long the daemon may take to reload its file.
	reloadLimit = 10 * time.Second
	// daemonStop is how long the daemon may take to stop. It waits for the slowest
	// user container; the grace period of our own container is shorter.
	daemonStop     = 10 * time.Minute
	containerdStop = 10 * time.Second
)

var (
	errDataRoot = errors.New("data-root changed; the engine restarts with it")
	errNoSocket = errors.New(socketPath + " was removed; the engine restarts")
	errDisks    = errors.New("the machine's disks appeared; the engine restarts with them")
	errWiped    = errors.New("containerd's databases were removed; containers are killed and the engine restarts")
)

// An engine is a running containerd and dockerd, and what they need.
type engine struct {
	log        *slog.Logger
	flavour    flavour
	further    further
	api        api
	containerd *process
	dockerd    *process

	mu sync.Mutex
	// settings are those of the daemon's current run. refused is the wish, as
	// text, with which the daemon did not start.
	settings Settings
	refused  string
	// refusal is what the daemon has said about the user's file, told what has
	// been shown to people.
	refusal refusal
	told    []string
	// listener is the public socket. It is open before the daemon starts, so that
	// clients wait, and stays open over restarts, so that containers which mount
	// the socket keep a working one.
	listener *net.UnixListener
	// complained is the last failure that the consoles have shown.
	complained string
	// answered: the daemon of the current run has answered.
	answered bool
	// renewing: the current run has been asked to end.
	renewing bool
	// early: the last run ended since containerd was not there.
	early bool

	// Only run uses these. complete: the engine knows all of the machine's
	// configuration. disks: they were there when it started. asked: a restart of
	// the daemon is requested. configured: UserConfigured is set.
	complete, disks, asked, configured bool
	// seen is the version of the user's file that corrected has last reported.
	seen string

	// swarm is whether the settings are to suit one, swarmAsked when somebody
	// last asked for one. mu guards them.
	swarm      swarmMode
	swarmAsked time.Time
}

func newEngine(log *slog.Logger) *engine {
	return &engine{log: log, api: newAPI(socketPath)}
}

// run runs the engine. It returns nil when ctx ends, else why the engine has to
// restart.
func (e *engine) run(ctx context.Context, reload <-chan os.Signal) error {
	if err := prepare(); err != nil {
		return err
	}
	var err error
	if e.flavour, err = readFlavour(flavourFile); err != nil {
		return err
	}
	e.further = readFurther()
	if err := e.further.own(ctx); err != nil {
		return err
	}
	if !e.further.isFirst() {
		defer func() {
			if err := e.further.disconnect(context.WithoutCancel(ctx)); err != nil {
				e.log.Warn("cannot remove the engine's network", "err", err)
			}
		}()
	}
	e.disks = awaitDisks(ctx, e.log)
	if err := e.awaitSettings(ctx); err != nil {
		return nil // told to stop before there was anything to stop
	}
	dataRoot := e.settings.DataRoot()
	if inSwarm(dataRoot) {
		e.swarm = swarmFits
	}
	if err := os.WriteFile(containerdConfig, []byte(containerdTOML(dataRoot, e.flavour)), 0o600); err != nil {
		return err
	}
	reserve := newInodeReserve(dataRoot)
	if err := reserve.release(); err != nil {
		e.log.Warn("the engine starts without the reserve of inodes", "err", err)
	}
	if n, err := killLeftovers(e.further.cgroups(), dataRoot, milestone.UserDrain.Reached()); err != nil || n > 0 {
		e.log.Warn("killed containers that no engine can take over", "count", n, "err", err)
	}

	var enter func() (leave func() error, err error)
	if e.further.isFirst() {
		tier, err := newTier(layout.UserTierHolder)
		if err != nil {
			return err
		}
		enter = tier.enter
	}
	e.containerd = &process{name: "containerd", log: e.log, stopLimit: containerdStop, command: e.containerdCommand, enter: enter}
	e.dockerd = &process{name: "dockerd", log: e.log, stopLimit: daemonStop, command: e.dockerdCommand,
		errors: io.MultiWriter(os.Stderr, swarmEar{e}), ended: e.dockerdEnded, changed: watchConfig(ctx), enter: enter}
	// They stop one after the other: dockerd needs containerd until its end.
	background := context.WithoutCancel(ctx)
	data := witness{files: []string{containerdDatabase(dataRoot), snapshotDatabase(dataRoot)}}
	stopContainerd := keep(background, e.containerd)
	defer stopContainerd()
	awaitNetwork(ctx, e.log, dataRoot)
	stopDockerd := keep(background, e.dockerd)
	defer stopDockerd()

	watch := time.NewTicker(lookClosely)
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			e.prepareStop(background)
			return nil
		case <-reload:
			if err := e.reload(); err != nil {
				e.log.Error("cannot reload the daemon's file", "err", err)
			}
		case <-watch.C:
			err := e.look(dataRoot)
			if e.configured {
				watch.Reset(lookAround)
				if err := reserve.fill(); err != nil {
					e.log.Debug("no reserve of inodes", "err", err)
				}
			}
			if data.lost() {
				err = errWiped
			}
			if err == nil {
				continue
			}
			// Nobody can reach a daemon without a socket, so it gets no time to stop.
			_ = e.dockerd.signal(syscall.SIGKILL)
			stopDockerd()
			stopContainerd()
			if errors.Is(err, errWiped) {
				return errors.Join(err, wipe(e.further.cgroups(), dataRoot))
			}
			return err
		}
	}
}

// look checks for changes that concern the engine. With an error the engine has
// to restart.
func (e *engine) look(dataRoot string) error {
	if err := e.lookForRequests(); err != nil {
		return err
	}
	if err := e.check(dataRoot); err != nil {
		return err
	}
	if e.disksCame() {
		return errDisks
	}
	if !e.runsAsAsked() {
		return nil
	}
	_ = milestone.UserReloading.Clear() // usually there is no request
	if !e.configured && e.hasAll() {
		e.configured = true
		if err := milestone.UserConfigured.Set(""); err != nil {
			e.log.Warn("start commands do not learn that User Docker is ready", "err", err)
		}
	}
	return nil
}

// keep runs p in the background. The returned function stops p and waits for its
// end.
func keep(ctx context.Context, p *process) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		p.run(ctx)
	}()
	return func() {
		cancel()
		<-gone
	}
}

// awaitSettings reads the settings. While the user's file has a mistake, it waits
// for a correction; no part of the OS depends on this engine.
func (e *engine) awaitSettings(ctx context.Context) error {
	changed := watchConfig(ctx)
	for {
		s, err := e.readSettings()
		if err == nil {
			e.use(s)
			return nil
		}
		e.complain(err, "")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// readSettings makes the daemon's settings from the user's file and the machine's
// configuration.
func (e *engine) readSettings() (Settings, error) {
	file, raw, problems, err := e.readUsable()
	if err != nil {
		return Settings{}, err
	}
	wish, err := readWish(e.further.isFirst())
	if err != nil {
		e.log.Warn("some of the configuration cannot be read", "err", err)
	}
	if !e.further.isFirst() {
		// A further engine's containers end with its own container.
		wish.Values = map[string]any{"live-restore": false}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refused != "" && e.refused == fmt.Sprint(wish.Values) {
		// The daemon did not start with it.
		wish.Values = nil
	}
	s, err := Merge(raw, wish.Values, readOnDisk)
	s.env, s.wish, s.file, s.fallback = wish.Env, wish.Values, string(file), len(problems) > 0
	s.Problems = slices.Concat(wish.Problems, problems, s.Problems)
	if err != nil {
		return s, err
	}
	return e.flavour.of(e.swarm.suit(s)), nil
}

func (e *engine) use(s Settings) {
	if len(s.Ignored) > 0 {
		e.log.Warn("keys that User Docker sets itself have no effect", "file", layout.UserDaemonConfig, "keys", s.Ignored)
	}
	e.tell(s.Problems)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settings = s
}

func (e *engine) current() Settings {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.settings
}

// reload makes the daemon read its file again, like SIGHUP to a stock daemon.
func (e *engine) reload() error {
	s, err := e.readSettings()
	if err != nil {
		return err
	}
	e.use(s)
	if err := writeSettings(s); err != nil {
		return err
	}
	return e.dockerd.signal(syscall.SIGHUP)
}

// check returns an error if the engine has to restart.
func (e *engine) check(dataRoot string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.settings.DataRoot() != dataRoot {
		return errDataRoot
	}
	if _, err := os.Lstat(socketPath); e.listener != nil && errors.Is(err, fs.ErrNotExist) {
		return errNoSocket
	}
	return nil
}

// A witness remembers which files existed, and notices when one is gone.
type witness struct {
	files []string
	seen  []string
}

// lost reports whether a file is gone that an earlier call has seen.
func (w *witness) lost() bool {
	for _, file := range w.seen {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	w.seen = slices.DeleteFunc(slices.Clone(w.files), func(file string) bool {
		_, err := os.Stat(file)
		return err != nil
	})
	return false
}

// wipe removes the rest of containerd's files after somebody removed its
// databases, since without those they are useless. It kills all containers first:
// one of them may still be deleting.
func wipe(root, dataRoot string) error {
	_, err := killUserTier(root)
	return errors.Join(err, os.RemoveAll(containerdRoot(dataRoot)))
}

// prepareStop makes the daemon stop its containers when the machine shuts down or
// the next engine cannot take them over. With live-restore on, the daemon would
// leave them running, to be killed later. Stopped through the API, they would not
// start again at the next boot.
func (e *engine) prepareStop(ctx context.Context) {
	if !e.current().LiveRestore() || !milestone.UserDrain.Reached() && !goingDown(milestone.Shutdown, shutdownRace) {
		return
	}
	err := writeSettings(e.current().WithoutLiveRestore())
	if err == nil {
		err = e.dockerd.signal(syscall.SIGHUP)
	}
	if err == nil {
		err = e.api.awaitLiveRestore(ctx, false, reloadLimit)
	}
	if err != nil {
		e.log.Error("cannot switch live-restore off; containers are killed", "err", err)
	}
}

// goingDown reports whether the machine's shutdown has begun or begins within
// limit.
func goingDown(end milestone.Milestone, limit time.Duration) bool {
	for last := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if end.Reached() {
			return true
		}
		if time.Now().After(last) {
			return false
		}
	}
}

// complain shows a failure in the log and on the consoles, once.
func (e *engine) complain(err error, lastWords string) {
	f := diagnose(err, lastWords)
	line := kmsg.Failure(f.step, f.cause, f.remedy)
	e.mu.Lock()
	defer e.mu.Unlock()
	if line == e.complained {
		return
	}
	e.complained = line
	e.log.Error("user Docker does not start", "step", f.step, "err", f.cause, "remedy", f.remedy)
	if err := kmsg.Announce(line); err != nil {
		e.log.Warn("line did not reach the consoles", "err", err)
	}
	if f.step != configStep {
		return
	}
	if err := renameio.WriteFile(layout.UserFailure, []byte(f.cause.Error()+"\n"), 0o644); err != nil {
		e.log.Warn("cannot report that User Docker does not start; the boot waits for it", "err", err)
	}
}

// watchConfig returns a channel that receives after each change of the user's
// file. It watches the path, not the file, since editors replace files.
func watchConfig(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{})
	stamp := func() (time.Time, int64) {
		fi, err := os.Stat(layout.UserDaemonConfig)
		if err != nil {
			return time.Time{}, -1
		}
		return fi.ModTime(), fi.Size()
	}
	go func() {
		tick := time.NewTicker(lookAround)
		defer tick.Stop()
		mtime, size := stamp()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			m, s := stamp()
			if m.Equal(mtime) && s == size {
				continue
			}
			mtime, size = m, s
			select {
			case changed <- struct{}{}:
			default: // nobody waits for a change
			}
		}
	}()
	return changed
}
