package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// policyFile takes compiled profiles; those of the same name are replaced.
const policyFile = "/sys/kernel/security/apparmor/.replace"

// loadPolicy gives the kernel the profiles of containers. Without it, for
// example with apparmor=0 on the kernel's command line, daemons do not ask for them.
func loadPolicy(context.Context) error {
	return confine(layout.AppArmorPolicy, policyFile, layout.AppArmorParser)
}

func confine(policy, kernel, parser string) error {
	text, err := os.ReadFile(policy)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(kernel, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("the kernel takes no AppArmor profiles: %w", err)
	}
	_, err = f.Write(text) // at once, or not at all
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("load AppArmor profiles: %w", err)
	}
	// An attempt before this one may have made it.
	if err := os.Symlink(layout.AppArmorNoParser, parser); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
