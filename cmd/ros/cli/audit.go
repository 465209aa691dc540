package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// audited is what a container of the system tier may do, and why.
type audited struct {
	Name       string           `json:"name"`
	State      string           `json:"state"`
	Configured bool             `json:"configured"`
	Rights     dockerapi.Rights `json:"rights"`
	// Labels are the security labels of its processes, as the kernel says.
	Labels []string `json:"labels"`
	// Reasons are by privilege, as in x-reason of a service's declaration.
	Reasons map[string]string `json:"reasons"`
	// Missing are privileges without a reason, Foreign says that nothing asks for
	// the container. Either is a fault.
	Missing []string `json:"missing"`
	Foreign bool     `json:"foreign"`
}

func (a audited) faulty() bool { return a.Foreign || len(a.Missing) > 0 }

func (p places) auditCommand() *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "show what each container of the system tier may do, and why",
		Description: "Asks System Docker for all its containers, and the kernel for what their processes are. Ends with exit\n" +
			"code 1 if one has a right without a reason, is confined by another profile than its own, or is neither an\n" +
			"OS service nor in rancher.services. Of services from rancher.services the configuration is the reason.\n\n" +
			"Examples:\n   sudo ros audit\n   sudo ros audit --json | jq -r '.[] | select(.foreign).name'",
		Flags: []cli.Flag{boolFlag("json", "print JSON")},
		Action: func(c *cli.Context) error {
			list, err := p.audit(c.Context)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				err = writeJSON(c.App.Writer, list)
			} else {
				err = writeAudit(c.App.Writer, list)
			}
			if err == nil && slices.ContainsFunc(list, audited.faulty) {
				return errSilent
			}
			return err
		},
	}
}

func (p places) audit(ctx context.Context) ([]audited, error) {
	known, err := p.charters()
	if err != nil {
		return nil, err
	}
	containers, err := p.containers(ctx, systemTier, "")
	if err != nil {
		return nil, err
	}
	daemon, err := p.connect(p.systemSocket)
	if err != nil {
		return nil, err
	}
	defer daemon.Close()
	list := []audited{}
	for _, c := range containers {
		rights, pid, err := daemon.Rights(ctx, c.ID)
		if dockerapi.IsNotFound(err) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		seen, err := p.kernel.look(pid)
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", c.Name, withSudo(err))
		}
		// By whatever option, for example another container's namespace.
		rights.HostNamespaces = slices.Compact(slices.Sorted(slices.Values(slices.Concat(rights.HostNamespaces, seen.namespaces))))
		a := audited{
			Name: c.Name, State: string(c.State), Configured: c.Labels[plan.LabelConfigured] != "",
			Rights: rights, Labels: seen.labels, Reasons: map[string]string{}, Missing: []string{},
		}
		i := slices.IndexFunc(known, func(k charter) bool { return k.container == c.Name && c.Labels[k.label] == k.name })
		if a.Foreign = i < 0; a.Foreign {
			a.judge(charter{}, c.ImageID)
		} else {
			a.judge(known[i], c.ImageID)
		}
		list = append(list, a)
	}
	return list, nil
}

// A charter says which container of the system tier there may be, and why it has
// its rights.
type charter struct {
	name, container, label string // of the service, and the label that has it
	reasons                map[string]string
	// image is the digest that the container's has to have, if that is known.
	image string
	// capabilities: it has Docker's own.
	capabilities bool
}

// charters are those of OS services, as their declarations say, and of services
// of the configuration.
func (p places) charters() ([]charter, error) {
	decls, index, records, err := p.declarations()
	if err != nil {
		return nil, err
	}
	var list []charter
	for _, d := range decls {
		c := charter{name: d.Name, container: d.Name, label: plan.LabelService, reasons: d.Service.Reason}
		i := slices.IndexFunc(index.Images, func(e images.IndexEntry) bool { return e.Name == d.Name })
		if i >= 0 && records[d.Name].Image == "" {
			c.image = index.Images[i].Manifest
		}
		list = append(list, c)
	}
	cfg, _, _, err := p.load()
	if err != nil {
		return nil, err
	}
	wants, _ := entries(cfg, cfg.Rancher.Select(p.root, catalogue), records)
	for _, w := range wants {
		if !w.System {
			continue
		}
		rights := dockerapi.RightsOf(w.Spec.Host)
		c := charter{
			name: w.Name, container: w.Container, label: plan.LabelConfigured,
			reasons: make(map[string]string), capabilities: !rights.AllDropped,
		}
		known := images.CatalogueReasons(w.Name)
		for _, privilege := range privileges(rights) {
			c.reasons[privilege] = cmp.Or(known[privilege], "rancher.services asks for it")
		}
		list = append(list, c)
	}
	return list, nil
}

// declarations are those of the OS services, and of further engines, whose
// reasons are people's, with the shipped images and what people want of both.
func (p places) declarations() ([]images.Declaration, images.Index, map[string]control.Record, error) {
	decls, err := images.Load()
	if err != nil {
		return nil, images.Index{}, nil, err
	}
	index, err := images.ReadIndex(p.imageIndex)
	if err != nil {
		return nil, images.Index{}, nil, err
	}
	records, err := control.Read(p.records)
	if err != nil {
		return nil, images.Index{}, nil, withSudo(err)
	}
	decls, index, err = plan.WithEngines(decls, index, control.Engines(records))
	return decls, index, records, err
}

// privileges are the rights that need a reason.
func privileges(r dockerapi.Rights) []string {
	return images.Rights{
		Privileged: r.Privileged, HostNamespaces: r.HostNamespaces, NetSysctls: r.NetSysctls, CapAdd: r.CapAdd,
		SecurityOpt: r.SecurityOpt, Devices: r.Devices, DeviceCgroupRules: r.DeviceCgroupRules, Volumes: r.Mounts,
	}.Privileges()
}

// judge adds the reasons for what the container may do, and what has none.
func (a *audited) judge(c charter, image string) {
	for _, privilege := range privileges(a.Rights) {
		if reason := c.reasons[privilege]; reason != "" {
			a.Reasons[privilege] = reason
		} else {
			a.Missing = append(a.Missing, privilege)
		}
	}
	if r := a.Rights; !r.Privileged && !r.AllDropped && !c.capabilities {
		a.Missing = append(a.Missing, "Docker's own capabilities")
	}
	if c.image != "" && c.image != image {
		a.Missing = append(a.Missing, "another image than the shipped one")
	}
	if a.Rights.Privileged {
		return // and so not confined
	}
	profile := a.profile()
	for _, label := range a.Labels {
		if label != profile+" (enforce)" && label != profile {
			a.Missing = append(a.Missing, "a process that is "+label)
		}
	}
}

// profile is the name of the AppArmor profile that the container asks for.
func (a *audited) profile() string {
	for _, o := range a.Rights.SecurityOpt {
		if name, ok := strings.CutPrefix(strings.Replace(o, ":", "=", 1), "apparmor="); ok {
			return name
		}
	}
	return "docker-default"
}

func writeAudit(w io.Writer, list []audited) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "CONTAINER\tSTATE\tPRIVILEGED\tCAPABILITIES\tSECCOMP\tLABEL\tROOT\tHOST'S\tDEVICES\tMOUNTS\tMEMORY\tOOM")
	for _, a := range list {
		r := a.Rights
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", a.Name, a.State, choose(r.Privileged, "yes", "no"), capabilities(r), seccomp(r),
			orDash(strings.Join(a.Labels, ", ")), choose(r.ReadOnly, "ro", "rw"), orDash(strings.Join(r.HostNamespaces, ",")), devices(r),
			mounts(r.Mounts), choose(r.Memory > 0, fmt.Sprintf("%d MiB", r.Memory>>20), "-"), r.OOMScoreAdj)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nReasons")
	for _, a := range list {
		for _, privilege := range slices.Sorted(maps.Keys(a.Reasons)) {
			fmt.Fprintf(w, "  %s, %s: %s\n", a.Name, privilege, a.Reasons[privilege])
		}
	}
	for _, a := range list {
		if a.Foreign {
			fmt.Fprintf(w, "  %s: NOT OURS: it is neither an OS service nor in rancher.services\n", a.Name)
		}
		for _, privilege := range a.Missing {
			fmt.Fprintf(w, "  %s, %s: NO REASON\n", a.Name, privilege)
		}
	}
	return nil
}

// devices are the machine's that a container has.
func devices(r dockerapi.Rights) string {
	if r.Privileged {
		return "all"
	}
	return orDash(strings.Join(slices.Concat(r.Devices, r.DeviceCgroupRules), ", "))
}

func capabilities(r dockerapi.Rights) string {
	switch {
	case r.Privileged:
		return "all"
	case !r.AllDropped:
		return strings.Join(append([]string{"Docker's"}, r.CapAdd...), ",")
	}
	return orDash(strings.Join(r.CapAdd, ","))
}

// seccomp is the profile's name.
func seccomp(r dockerapi.Rights) string {
	for _, o := range r.SecurityOpt {
		if profile, ok := strings.CutPrefix(o, "seccomp="); ok {
			return profile
		}
	}
	return choose(r.Privileged, "-", "default")
}

// mounts counts them.
func mounts(list []string) string {
	readOnly := 0
	for _, m := range list {
		parts := strings.Split(m, ":")
		if len(parts) == 3 && slices.Contains(strings.Split(parts[2], ","), "ro") {
			readOnly++
		}
	}
	return fmt.Sprintf("%d, %d rw", len(list), len(list)-readOnly)
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

func orDash(text string) string { return choose(text == "", "-", text) }
