package console

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mostProcesses is how many processes and threads an account may have at most.
const mostProcesses = 4096

// limitLogins bounds the processes of each account but root's, of all that this
// process starts: a fork bomb ends with the account that set it off.
func limitLogins(threadsMax string) error {
	text, err := os.ReadFile(threadsMax)
	if err != nil {
		return err
	}
	threads, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", threadsMax, err)
	}
	n := processesOf(threads)
	return unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: n, Max: n})
}

// processesOf is the limit of an account on a machine whose kernel allows this
// many threads: an eighth.
func processesOf(threads uint64) uint64 { return min(threads/8, mostProcesses) }
