package pid1

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
)

// networkModules are what user Docker's networks need. The kernel would load
// them one by one when the daemon asks for the first network; each signature
// takes time to check, and now there is a processor to spare.
var networkModules = []string{
	"bridge", "veth", "nf_tables", "nft_chain_nat", "nft_ct", "nft_masq", "nft_fib_ipv4", "nft_fib_ipv6", "xfrm_user",
}

// modulesLimit bounds the loading of modules.
const modulesLimit = time.Minute

// startModules begins to load the modules that will be wanted. What is missing
// here is told by the daemon that cannot do without.
func (s *system) startModules(ctx context.Context) error {
	s.guard("modules", func() {
		ctx, cancel := context.WithTimeout(ctx, modulesLimit)
		defer cancel()
		start := bootlog.Now()
		cmd := exec.CommandContext(ctx, "modprobe", append([]string{"--all", "--quiet"}, networkModules...)...)
		cmd.Stderr = s.logFile
		err := s.children.start(cmd, oomDefault)
		if err == nil {
			err = s.children.wait(cmd)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", cmd, err)
			s.log.Warn("modules", "error", err)
		}
		s.record("modules", start, err)
	})
	return nil
}
