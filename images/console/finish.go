package console

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/tool"
	"github.com/bulkhead-os/bulkhead/internal/version"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// finish announces that the machine is configured, and ends it if the
// configuration says so.
func (c *console) finish(ctx context.Context) error {
	if c.cfg.FinalMessage == "" && c.cfg.PowerState.Mode == "" {
		return nil
	}
	first, err := milestone.Finished.Claim()
	if !first {
		return err
	}
	meta, _, err := osconfig.ReadMetadata(layout.Metadata)
	if err != nil {
		return err
	}
	if c.cfg.FinalMessage != "" {
		err = kmsg.Announce(finalMessage(c.cfg.FinalMessage, meta.Datasource, bootlog.Now(), time.Now()))
	}
	return errors.Join(err, c.changePower(ctx, meta.InstanceID))
}

// finalMessage fills in the values that cloud-init has for the text.
func finalMessage(text, source string, uptime float64, now time.Time) string {
	var pairs []string
	for name, value := range map[string]string{
		"version":    version.Version,
		"timestamp":  now.UTC().Format(time.RFC1123Z),
		"datasource": source,
		"uptime":     fmt.Sprintf("%.2f", uptime),
	} {
		pairs = append(pairs, "$"+name, value, "$"+strings.ToUpper(name), value,
			"${"+name+"}", value, "${"+strings.ToUpper(name)+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(strings.TrimRight(text, "\n"))
}

// conditionLimit bounds the command that decides about power_state.
const conditionLimit = time.Minute

func (c *console) changePower(ctx context.Context, instance string) error {
	power := c.cfg.PowerState
	if power.Mode == "" || power.Condition.Never {
		return nil
	}
	done, err := openLedger(layout.CommandsDone, instance)
	if err != nil {
		return err
	}
	if cmd := power.Condition.Command; len(cmd) > 0 {
		ctx, cancel := context.WithTimeout(ctx, conditionLimit)
		defer cancel()
		if err := exec.CommandContext(ctx, cmd[0], cmd[1:]...).Run(); err != nil {
			c.log.Info("power_state: the condition does not hold", "err", err)
			return nil
		}
	}
	if first, err := done.claim(oncePerInstance, fmt.Appendf(nil, "power_state %s", power.Mode)); !first || err != nil {
		return err
	}
	message := power.Message
	if message == "" {
		message = "bulkhead: configured; " + string(power.Mode) + " as power_state says"
	}
	if err := kmsg.Announce(message); err != nil {
		c.log.Warn("announce", "err", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(time.Duration(power.Delay.Minutes()) * time.Minute):
	}
	return tool.Run(ctx, "", "/usr/sbin/"+string(power.Mode))
}
