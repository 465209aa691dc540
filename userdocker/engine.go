package userdocker

import (
	"context"
	"errors"
	"fmt"
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
	// lookAround is how often files are looked at that tell of a change: the
	// user's daemon.json after a mistake in it, and our socket. During the
	// boot, when people wait for a daemon that will stay, it is lookClosely.
	lookAround  = 2 * time.Second
	lookClosely = 250 * time.Millisecond
	// shutdownRace is how long the notice that the machine goes down may come
	// after the signal.
	shutdownRace = 300 * time.Millisecond
	// reloadLimit bounds the daemon's taking in of a changed file.
	reloadLimit = 10 * time.Second
	// daemonStop bounds the daemon's stop, which takes as long as the slowest
	// user container; the grace period of our container ends first.
	daemonStop     = 10 * time.Minute
	containerdStop = 10 * time.Second
)

var (
	errDataRoot = errors.New("data-root changed; the engine starts anew with it")
	errNoSocket = errors.New(socketPath + " was removed; the engine starts anew")
	errDisks    = errors.New("the machine's disks came; the engine starts anew with them")
	errWiped    = errors.New("containerd's databases were removed; containers are killed, the engine starts anew")
)

// An engine is containerd and dockerd with all they need.
type engine struct {
	log        *slog.Logger
	flavour    flavour
	further    further
	api        api
	containerd *process
	dockerd    *process

	mu sync.Mutex
	// settings are those of the daemon's current run; refused is a wish, as
	// text, that the daemon did not start with.
	settings Settings
	refused  string
	// refusal is what the daemon has said about the user's file, told what
	// people know of it.
	refusal refusal
	told    []string
	// listener is the public socket, open from before the daemon's start, so
	// that clients wait for it, and kept over its restarts, so that containers
	// which mount the socket keep a live one.
	listener *net.UnixListener
	// complained is the last failure that the consoles were told.
	complained string
	// answered tells whether the daemon of the current run ever did.
	answered bool
	// renewing: the end of the current run is asked for.
	renewing bool

	// For run alone: complete tells whether the engine knows all of the
	// machine's configuration, disks whether it began when they were there,
	// asked whether somebody waits for a new start of the daemon, configured
	// whether UserConfigured is there.
	complete, disks, asked, configured bool
	// seen is the user's file that corrected has last told of.
	seen string
}

func newEngine(log *slog.Logger) *engine {
	return &engine{log: log, api: newAPI(socketPath)}
}

// run returns nil after a stop that ctx asked for.
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
				e.log.Warn("end of the engine's network", "err", err)
			}
		}()
	}
	e.disks = awaitDisks(ctx, e.log)
	if err := e.awaitSettings(ctx); err != nil {
		return nil // told to stop before there was anything to stop
	}
	dataRoot := e.settings.DataRoot()
	if err := os.WriteFile(containerdConfig, []byte(containerdTOML(dataRoot, e.flavour)), 0o600); err != nil {
		return err
	}
	if n, err := killLeftovers(cgroupRoot, dataRoot, milestone.UserDrain.Reached()); err != nil || n > 0 {
		e.log.Warn("containers that no engine can take over killed", "count", n, "err", err)
	}

	e.containerd = &process{name: "containerd", log: e.log, stopLimit: containerdStop, command: containerdCommand}
	e.dockerd = &process{name: "dockerd", log: e.log, stopLimit: daemonStop, command: e.dockerdCommand,
		ended: e.dockerdEnded, changed: watchConfig(ctx)}
	// Each is stopped on its own: dockerd needs containerd to the end.
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
				e.log.Error("reload", "err", err)
			}
		case <-watch.C:
			err := e.look(dataRoot)
			if e.configured {
				watch.Reset(lookAround)
			}
			if data.lost() {
				err = errWiped
			}
			if err == nil {
				continue
			}
			// A daemon without a socket listens to nobody: no farewell.
			_ = e.dockerd.signal(syscall.SIGKILL)
			stopDockerd()
			stopContainerd()
			if errors.Is(err, errWiped) {
				return errors.Join(err, wipe(dataRoot))
			}
			return err
		}
	}
}

// look looks at the files that tell of a change. The error is one that only a
// new start of the engine can cure.
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
	_ = milestone.UserReloading.Clear() // mostly nobody has asked
	if !e.configured && e.hasAll() {
		e.configured = true
		if err := milestone.UserConfigured.Set(""); err != nil {
			e.log.Warn("start commands wait for user Docker in vain", "err", err)
		}
	}
	return nil
}

// keep runs p in the background; the returned function stops it and returns
// when it is gone.
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

// awaitSettings reads the settings, and waits for a correction as long as
// there is a mistake in the user's file. Nothing of the OS depends on it.
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

// readSettings reads what the daemon is to run with, from the user's file and
// the machine's configuration.
func (e *engine) readSettings() (Settings, error) {
	file, raw, problems, err := e.readUsable()
	if err != nil {
		return Settings{}, err
	}
	wish, err := readWish(e.further.isFirst())
	if err != nil {
		e.log.Warn("configuration is read in part", "err", err)
	}
	if !e.further.isFirst() {
		// Its containers end with it, as all of its container does.
		wish.Values = map[string]any{"live-restore": false}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refused != "" && e.refused == fmt.Sprint(wish.Values) {
		// The daemon does not run with it.
		wish.Values = nil
	}
	s, err := Merge(raw, wish.Values, readOnDisk)
	s.env, s.wish, s.file, s.fallback = wish.Env, wish.Values, string(file), len(problems) > 0
	s.Problems = slices.Concat(wish.Problems, problems, s.Problems)
	return e.flavour.of(s), err
}

func (e *engine) use(s Settings) {
	if len(s.Ignored) > 0 {
		e.log.Warn("settings of the bulkhead itself are not taken over", "file", layout.UserDaemonConfig, "keys", s.Ignored)
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

// reload makes the daemon read its file again, as SIGHUP does with the stock
// daemon.
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

// check finds out what only a new start can cure.
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

// A witness has seen files and notices when one is gone.
type witness struct {
	files []string
	seen  []string
}

// lost reports whether a file that an earlier call saw is there no more.
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

// wipe ends what someone began by removing containerd's databases, and that
// someone, who may still be at it: the rest of containerd's files cannot be
// told apart without them.
func wipe(dataRoot string) error {
	_, err := killUserTier(cgroupRoot)
	return errors.Join(err, os.RemoveAll(containerdRoot(dataRoot)))
}

// prepareStop makes the daemon stop its containers when the machine goes down,
// or the next engine cannot take them over. With live-restore on it would leave
// them, and they would be killed without a word; stopped through the API they
// would stay so after the next start.
func (e *engine) prepareStop(ctx context.Context) {
	if !e.current().LiveRestore() || !milestone.UserDrain.Reached() && !goingDown(milestone.Shutdown, shutdownRace) {
		return
	}
	err := writeSettings(e.current().WithoutLiveRestore())
	if err == nil {
		err = e.dockerd.signal(syscall.SIGHUP)
	}
	if err == nil {
		err = e.api.awaitNoLiveRestore(ctx, reloadLimit)
	}
	if err != nil {
		e.log.Error("switch live-restore off; containers are killed", "err", err)
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

// complain tells log and consoles of a failure, once.
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
		e.log.Warn("consoles", "err", err)
	}
	if f.step != configStep {
		return
	}
	if err := renameio.WriteFile(layout.UserFailure, []byte(f.cause.Error()+"\n"), 0o644); err != nil {
		e.log.Warn("the boot waits for user Docker in vain", "err", err)
	}
}

// watchConfig returns a channel that receives after each change of the user's
// file. Editors replace files, so it is the path that is watched, not the file.
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
