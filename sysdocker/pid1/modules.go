package pid1

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
)

// earlyModules are what user Docker's networks need: the kernel would load them
// one by one when the daemon asks for the first network; each signature takes
// time to check, and now there is a processor to spare. The last two are the
// power button, which people press before udev has come to it.
var earlyModules = []string{
	"bridge", "veth", "nf_tables", "nft_chain_nat", "nft_ct", "nft_masq", "nft_fib_ipv4", "nft_fib_ipv6", "xfrm_user",
	"button", "evdev",
}

// modulesLimit bounds the loading of modules.
const modulesLimit = time.Minute

// startModules begins to load the modules that will be wanted. What is missing
// here is reported by the daemon that cannot do without.
func (s *system) startModules(ctx context.Context) error {
	s.guard("modules", func() {
		ctx, cancel := context.WithTimeout(ctx, modulesLimit)
		defer cancel()
		start := bootlog.Now()
		cmd := exec.CommandContext(ctx, "modprobe", append([]string{"--all", "--quiet"}, earlyModules...)...)
		cmd.Stderr = s.logFile
		err := s.children.start(cmd, oomDefault)
		if err == nil {
			err = s.children.wait(cmd)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", cmd, err)
			s.log.Warn("modules", "err", err)
		}
		s.record("modules", start, err)
	})
	return nil
}
