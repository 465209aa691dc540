package budget

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
	"github.com/bulkhead-os/bulkhead/iso/command"
)

// sample is the largest configuration, from the root of the
// repository.
const sample = "os-config/testdata/rancheros/everything.yml"

// Configuration is what reading configurations costs.
type Configuration struct {
	// Sample is the processor time for the largest sample in the guest, HostSample
	// the same on the machine that the guest is emulated on.
	Sample, HostSample time.Duration
	// Boot is how long the boot's reading of its own configuration took, from
	// disks on.
	Boot time.Duration
}

// Slowness is how many times longer the guest takes for the same.
func (c Configuration) Slowness() float64 { return float64(c.Sample) / float64(c.HostSample) }

// timings is what ros config validate --timings says.
var timings = regexp.MustCompile(`in ([\d.]+) ms of processor time`)

func parseTimings(text string) (time.Duration, error) {
	m := timings.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no processor time in %q", text)
	}
	return seconds(m[1]) / 1000, nil
}

// measureConfiguration measures in a guest that has booted.
func measureConfiguration(ctx context.Context, client *qemutest.Client) (c Configuration, err error) {
	text, err := os.ReadFile(sample)
	if err != nil {
		return c, fmt.Errorf("run from the root of the repository: %w", err)
	}
	const command = "config validate --timings -"
	r, err := client.Run(ctx, "ros "+command, bytes.NewReader(text))
	if err != nil {
		return c, err
	}
	if c.Sample, err = parseTimings(r.Stderr); err != nil {
		return c, err
	}
	if c.HostSample, err = onHost(ctx, command, text); err != nil {
		return c, err
	}
	if r, err = client.Run(ctx, "cat /run/bulkhead/boot.json", nil); err != nil {
		return c, err
	}
	c.Boot, err = readingAtBoot([]byte(r.Stdout))
	return c, err
}

// onHost runs ros on this machine.
func onHost(ctx context.Context, arguments string, stdin []byte) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "budget-ros-*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	ros := filepath.Join(dir, "ros")
	if err := command.Run(exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", ros, "./cmd/ros")); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, ros, strings.Fields(arguments)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%v: %w: %s", cmd, err, stderr.String())
	}
	return parseTimings(stderr.String())
}

// readingAtBoot adds up the steps of a boot report that read the configuration.
func readingAtBoot(report []byte) (time.Duration, error) {
	var r struct {
		Steps []struct {
			Name       string
			Start, End float64
		}
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return 0, fmt.Errorf("boot report: %w", err)
	}
	var sum float64
	for _, s := range r.Steps {
		switch s.Name {
		case "cloud-init/local", "cloud-init/load", "cloud-init/hostname", "cloud-init/system":
			sum += s.End - s.Start
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("boot report: no step of cloud-init in %.200q", report)
	}
	return time.Duration(sum * float64(time.Second)), nil
}
