package orchestrator

import (
	"context"
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
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/oslog"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/sysdocker/bootdisk"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
	"github.com/bulkhead-os/bulkhead/sysdocker/trial"
	"github.com/bulkhead-os/bulkhead/sysdocker/upkeep"
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
		log.Error("orchestrator ends", "err", err)
		announce(log, kmsg.Failure("orchestrator", err, "see "+layout.SystemLog))
		return 1
	}
	return 0
}

func run(ctx context.Context, log *slog.Logger) error {
	began := bootlog.Now()
	system, err := dockerapi.New(layout.SystemSocket)
	if err != nil {
		return err
	}
	defer system.Close()
	user, err := dockerapi.New(layout.UserSocket)
	if err != nil {
		return err
	}
	defer user.Close()
	// A daemon that never answers has no good system around it.
	go trial.Run(ctx, system, user, log)
	api := wait.DockerAPI(layout.SystemSocket)
	err = wait.For(ctx, apiLimit, api, func(waited time.Duration, last error) {
		log.Warn("waiting", "for", api, "since", waited.Round(time.Second), "last", last)
	})
	if err != nil {
		return err
	}
	m := newMachine(system, user, log)
	m.step(bootlog.Since("system-docker/api", began, nil))
	m.afterBoot = func() {
		go upkeep.Run(ctx, log)
		go bootdisk.Run(ctx, log)
	}

	// An orchestrator that ended in the middle of a switch has left it.
	if err := milestone.UserDrain.Clear(); err != nil {
		log.Warn("user containers stop with their engine", "err", err)
	}
	records, err := control.Open(layout.ServiceRecords)
	if err != nil {
		announce(log, kmsg.Failure("services", err, "earlier ros service stop and upgrade settings are lost: run them again"))
	}
	in, err := readOS()
	if err != nil {
		return err
	}
	in.Records = records.All()
	complete := make(chan plan.Inputs)
	go m.awaitSettings(ctx, in, complete)
	// With the settings of earlier boots, a service need not be made again when
	// the whole configuration has been read. What is wrong with them is reported
	// then.
	if err := settings(&in); err != nil {
		log.Info("stored configuration", "err", err)
	}
	in.Restart = nil
	r := newReconciler(withImages(system, log), withImages(user, log), m, records, in, log)
	r.settings = complete
	r.osSlots.free = max(2, runtime.NumCPU())
	return r.run(ctx)
}

// withImages is a daemon with the shipped images for it.
func withImages(client *dockerapi.Client, log *slog.Logger) daemon {
	return struct {
		*dockerapi.Client
		*preload.Loader
	}{client, &preload.Loader{Store: client, Dir: layout.ImagesDir, Log: log}}
}

// readOS returns what the OS services of this version are.
func readOS() (in plan.Inputs, err error) {
	if in.Declarations, err = images.Load(); err != nil {
		return in, err
	}
	if in.Index, err = images.ReadIndex(layout.ImageIndex); err != nil {
		return in, err
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	in.BootID = strings.TrimSpace(string(bootID))
	return in, err
}
