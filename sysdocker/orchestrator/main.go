package orchestrator

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/oslog"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
)

// apiLimit is how long PID 1 may take to serve the API before this program
// gives up; PID 1 starts it again then.
const apiLimit = 5 * time.Minute

// memoryLimit is soft: the collector works harder near it. In use are 4 MB.
const memoryLimit = 10 << 20

// Main runs the services of the machine until SIGTERM, then stops them in
// order.
func Main([]string) int {
	log := oslog.New("orchestrator")
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(50)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, log); err != nil {
		log.Error("orchestrator ends", "error", err)
		announce(log, kmsg.Failure("orchestrator", err, "see "+layout.SystemLog))
		return 1
	}
	return 0
}

func run(ctx context.Context, log *slog.Logger) error {
	began := bootlog.Now()
	api := wait.DockerAPI(layout.SystemSocket)
	err := wait.For(ctx, apiLimit, api, func(waited time.Duration, last error) {
		log.Warn("waiting", "for", api, "since", waited.Round(time.Second), "last", last)
	})
	if err != nil {
		return err
	}
	rec := newRecorder(log)
	rec.step(bootlog.Since("system-docker/api", began, nil))

	engine, err := dockerapi.New(layout.SystemSocket)
	if err != nil {
		return err
	}
	defer engine.Close()
	// An orchestrator that ended in the middle of a switch has left it.
	if err := os.Remove(layout.UserDrain); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("user containers stop with their engine", "error", err)
	}
	records, err := control.Open(layout.ServiceRecords)
	if err != nil {
		announce(log, kmsg.Failure("services", err, "what ros service stop and upgrade did counts no more: say it again"))
	}
	decls, further, err := readServices(records.Engines())
	if err != nil {
		return err
	}
	services, err := further(records.Engines())
	if err != nil {
		if len(services) == 0 {
			return err
		}
		announce(log, kmsg.Failure("services", err, "the image was built wrongly: install another version"))
	}
	configured := make(chan wishes)
	go awaitWishes(ctx, services, log, configured)
	user, err := dockerapi.New(layout.UserSocket)
	if err != nil {
		return err
	}
	defer user.Close()
	problems := newProblems(layout.ServiceProblems, log)
	keeper := newKeeper(engine, user, records, problems, log)
	s := &supervisor{
		engine:   engine,
		images:   &preload.Loader{Store: engine, Dir: layout.ImagesDir, Log: log},
		log:      log,
		decls:    decls,
		services: services,
		stored:   storedWishes(services, log),
		wishes:   configured,
		records:  records,
		console:  machineConsole(log),
		serve: func(ctx context.Context, handle func(context.Context, control.Request, func(string)) error) {
			if err := control.Serve(ctx, layout.ControlSocket, handle); err != nil {
				log.Error("no requests from ros", "error", err)
			}
		},
		configured: keeper.steer,
		drain:      drain,
		further:    further,
		wipe:       wipeEngine,
		condition:  condition,
		settled:    rec.settled,
		recovered:  rec.recovered,
		troubled:   problems.ofOS,
		processors: runtime.NumCPU(),
		booted: func(ctx context.Context, images int) {
			rec.finish(images)
			go keeper.run(ctx)
			go newUpkeep(log).run(ctx)
			// What the boot needed is not needed any more.
			debug.FreeOSMemory()
		},
	}
	return s.run(ctx)
}

// readServices returns what the machine consists of, with further user engines,
// and what makes its services for other ones.
func readServices(engines map[string]int) ([]images.Declaration, func(map[string]int) ([]plan.Service, error), error) {
	decls, err := images.Load()
	if err != nil {
		return nil, nil, err
	}
	index, err := images.ReadIndex(layout.ImageIndex)
	if err != nil {
		return nil, nil, err
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, nil, err
	}
	all, _, err := plan.WithEngines(decls, index, engines)
	return all, furtherEngines(decls, index, strings.TrimSpace(string(bootID))), err
}

// drain announces that user Docker's containers are to stop with their engine,
// until end is called.
func drain() (end func(), err error) {
	return func() { _ = os.Remove(layout.UserDrain) }, os.WriteFile(layout.UserDrain, nil, 0o644)
}

// condition is what makes a service ready.
func condition(r images.Ready) wait.Condition {
	switch {
	case r.Docker != "":
		return wait.DockerAPI(r.Docker)
	case r.Socket != "":
		return wait.Socket(r.Socket)
	}
	return wait.File(r.File)
}

// announce writes a line to every console.
func announce(log *slog.Logger, line string) {
	if err := kmsg.Announce(line); err != nil {
		log.Warn("line did not reach the consoles", "line", line, "error", err)
	}
}
