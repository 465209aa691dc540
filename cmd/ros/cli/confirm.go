package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// confirm has people say yes to a warning, unless they have with --yes.
func confirm(c *cli.Context, warning string) error {
	if c.Bool("yes") {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return usageError{fmt.Errorf("%s If that is meant, say --yes", warning)}
	}
	fmt.Fprintf(c.App.ErrWriter, "%s Go on? [y/N] ", warning)
	answer, _ := bufio.NewReader(c.App.Reader).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing has been changed")
	}
	return nil
}
