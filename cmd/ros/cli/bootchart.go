package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/internal/bootchart"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
)

func (p places) bootChartCommand() *cli.Command {
	return &cli.Command{
		Name:        "boot-chart",
		Usage:       "draw where the time of the last boot went, as SVG",
		Description: "Examples:\n   ros boot-chart > boot.svg\n   ros boot-chart --json | jq '.steps | sort_by(.start - .end)[:5]'",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print the figures instead"}},
		Action: func(c *cli.Context) error {
			report, err := p.readReport()
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return writeJSON(c.App.Writer, report)
			}
			return bootchart.Draw(c.App.Writer, report)
		},
	}
}

func (p places) readReport() (bootlog.Report, error) {
	var report bootlog.Report
	text, err := os.ReadFile(p.bootReport)
	if errors.Is(err, fs.ErrNotExist) {
		return report, errors.New("no boot report yet: the boot is still under way, see system-docker ps")
	}
	if err != nil {
		return report, fmt.Errorf("boot report: %w", err)
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return report, fmt.Errorf("boot report %s: %w", p.bootReport, err)
	}
	return report, nil
}
