package userdocker

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// bridgeTables are the tables of dockerd's nftables backend. heldTables are their
// copies while a daemon starts.
var (
	bridgeTables = []string{"ip docker-bridges", "ip6 docker-bridges"}
	heldTables   = []string{"ip bulkhead-bridges", "ip6 bulkhead-bridges"}
)

// holdRules copies the firewall rules of running containers, unless there are
// copies already. A daemon that takes containers over first removes the rules of
// the previous daemon, and then adds its own for one container after the other.
// Until it answers, the copies keep traffic flowing. If it never answers, they stay
// for the next one.
func holdRules(ctx context.Context) error {
	if milestone.UserRulesHeld.Reached() {
		return nil
	}
	if running, _ := filepath.Glob(containerdState + "/io.containerd.runtime.v2.task/moby/*"); len(running) == 0 {
		return nil
	}
	there, err := listRules(ctx, "tables")
	if err != nil {
		return err
	}
	tables := strings.Split(there, "\n")
	var rules strings.Builder
	for i, table := range bridgeTables {
		if !slices.Contains(tables, "table "+table) {
			continue
		}
		text, err := listRules(ctx, "table "+table)
		if err != nil {
			return err
		}
		rules.WriteString(strings.Replace(text, "table "+table, "table "+heldTables[i], 1))
	}
	if rules.Len() == 0 {
		return nil
	}
	if err := milestone.UserRulesHeld.Set(""); err != nil {
		return err
	}
	return tool.Run(ctx, rules.String(), "nft", "-f", "-")
}

// releaseRules removes the copies, if there are any.
func releaseRules(ctx context.Context) error {
	if !milestone.UserRulesHeld.Reached() {
		return nil
	}
	if err := dropTables(ctx, heldTables...); err != nil {
		return err
	}
	return milestone.UserRulesHeld.Clear()
}

// listRules returns what nft(8) lists.
func listRules(ctx context.Context, what string) (string, error) {
	out, err := exec.CommandContext(ctx, "nft", append([]string{"list"}, strings.Fields(what)...)...).Output()
	if err != nil {
		return "", fmt.Errorf("nft list %s: %w", what, err)
	}
	return string(out), nil
}

// dropTables removes tables. They may be missing.
func dropTables(ctx context.Context, tables ...string) error {
	var rules strings.Builder
	for _, table := range tables {
		// Created first, since deleting a missing table is an error.
		fmt.Fprintf(&rules, "table %[1]s {}\ndelete table %[1]s\n", table)
	}
	if err := tool.Run(ctx, rules.String(), "nft", "-f", "-"); err != nil {
		return fmt.Errorf("remove nftables rules: %w", err)
	}
	return nil
}
