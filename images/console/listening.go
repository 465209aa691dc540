package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// listening is the condition that something listens on a TCP port. It reads
// the kernel's table: a connection would cost sshd a process each time, fill
// its log, and count against the peer.
type listening struct{ port uint16 }

func (l listening) String() string { return fmt.Sprintf("TCP port %d", l.port) }

func (l listening) Check(context.Context) error {
	for _, table := range []string{"/proc/net/tcp6", "/proc/net/tcp"} {
		f, err := os.Open(table)
		if errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
			continue
		}
		if err != nil {
			return err
		}
		found, err := listens(f, l.port)
		f.Close()
		if found || err != nil {
			return err
		}
	}
	return fmt.Errorf("nothing listens on %s", l)
}

// listens looks for a listening socket in a table such as /proc/net/tcp, whose
// columns are number, local address, remote address and state.
func listens(table io.Reader, port uint16) (bool, error) {
	const stateListen = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) > 3 && f[3] == stateListen && strings.HasSuffix(f[1], suffix) {
			return true, nil
		}
	}
	return false, lines.Err()
}
