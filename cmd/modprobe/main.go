// Command modprobe is what the kernel runs when it wants a module (sysctl
// kernel.modprobe). At its start a Docker daemon tries which foreign
// architectures run here, and for each that does not the kernel asks for a
// module "binfmt-464c", which no kernel has: nine times per daemon. Debian's
// modprobe takes longer to find that out than the rest of BuildKit takes to
// start. This one says no at once, and leaves all else to Debian's.
package main

import (
	"os"
	"strings"
	"syscall"
)

const debian = "/sbin/modprobe"

func main() {
	args := os.Args
	if strings.HasPrefix(args[len(args)-1], "binfmt-") {
		os.Exit(1)
	}
	args[0] = debian
	_ = syscall.Exec(debian, args, syscall.Environ())
	os.Exit(1)
}
