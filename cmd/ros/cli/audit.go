package cli

import (
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

// audited is what a service of the system tier may do, and why.
type audited struct {
	Name       string           `json:"name"`
	Configured bool             `json:"configured"`
	Rights     dockerapi.Rights `json:"rights"`
	// Reasons are by privilege, as in x-reason of the service's declaration. An
	// OS service has one for each, or is at fault.
	Reasons map[string]string `json:"reasons"`
	Missing []string          `json:"missing"`
}

func (p places) auditCommand() *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "show what each service of the system tier may do, and why",
		Description: "Inspects the existing containers. Ends with exit code 1 if an OS service has a privilege without a\n" +
			"reason. Services from rancher.services are shown as well; what they may do is for the configuration to say.\n\n" +
			"Examples:\n   sudo ros audit\n   sudo ros audit --json | jq '.[] | select(.rights.privileged).name'",
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
			if err == nil && slices.ContainsFunc(list, func(a audited) bool { return len(a.Missing) > 0 }) {
				return errSilent
			}
			return err
		},
	}
}

func (p places) audit(ctx context.Context) ([]audited, error) {
	decls, err := p.declarations()
	if err != nil {
		return nil, err
	}
	services, err := p.services(ctx)
	if err != nil {
		return nil, err
	}
	configured, err := p.list(ctx, systemTier, plan.LabelConfigured)
	if err != nil {
		return nil, err
	}
	daemon, err := p.connect(p.systemSocket)
	if err != nil {
		return nil, err
	}
	defer daemon.Close()
	var list []audited
	for _, s := range slices.Concat(services, configured) {
		a := audited{Name: s.Name, Configured: s.Configured, Reasons: map[string]string{}, Missing: []string{}}
		if a.Rights, err = daemon.Rights(ctx, s.id); err != nil {
			return nil, err
		}
		if s.Configured {
			a.explain(images.CatalogueReasons(s.Name))
		} else {
			var reasons map[string]string // none for what is no service
			if i := slices.IndexFunc(decls, func(d images.Declaration) bool { return d.Name == s.Name }); i >= 0 {
				reasons = decls[i].Service.Reason
			}
			a.judge(reasons)
		}
		list = append(list, a)
	}
	return list, nil
}

// declarations are those of the OS services, and of further engines, whose
// reasons are people's.
func (p places) declarations() ([]images.Declaration, error) {
	decls, err := images.Load()
	if err != nil {
		return nil, err
	}
	index, err := images.ReadIndex(p.imageIndex)
	if err != nil {
		return nil, err
	}
	records, err := control.Read(p.records)
	if err != nil {
		return nil, withSudo(err)
	}
	decls, _, err = plan.WithEngines(decls, index, control.Engines(records))
	return decls, err
}

// harmless are security options that give no right: the second is Docker's own
// for containers that share namespaces, and for SELinux, which is not there.
var harmless = []string{"no-new-privileges", "label=disable"}

// explain adds the reasons for the privileges of a service, and returns the
// privileges without one.
func (a *audited) explain(reasons map[string]string) (missing []string) {
	r := a.Rights
	opts := slices.DeleteFunc(slices.Clone(r.SecurityOpt), func(o string) bool { return slices.Contains(harmless, o) })
	for _, privilege := range images.Privileges(r.Privileged, slices.Contains(r.HostNamespaces, "pid"), r.NetSysctls, r.CapAdd, opts) {
		if reason := reasons[privilege]; reason != "" {
			a.Reasons[privilege] = reason
		} else {
			missing = append(missing, privilege)
		}
	}
	return missing
}

// judge is explain for a service whose privileges all need a reason.
func (a *audited) judge(reasons map[string]string) {
	a.Missing = append(a.Missing, a.explain(reasons)...)
	if r := a.Rights; !r.Privileged && !r.AllDropped {
		a.Missing = append(a.Missing, "Docker's own capabilities")
	}
}

func writeAudit(w io.Writer, list []audited) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tPRIVILEGED\tCAPABILITIES\tSECCOMP\tAPPARMOR\tROOT\tHOST'S\tMOUNTS\tMEMORY\tOOM")
	for _, a := range list {
		r := a.Rights
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", a.Name, choose(r.Privileged, "yes", "no"), capabilities(r), seccomp(r),
			orDash(r.AppArmor), choose(r.ReadOnly, "ro", "rw"), orDash(strings.Join(r.HostNamespaces, ",")), mounts(r.Mounts),
			choose(r.Memory > 0, fmt.Sprintf("%d MiB", r.Memory>>20), "-"), r.OOMScoreAdj)
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
		for _, privilege := range a.Missing {
			fmt.Fprintf(w, "  %s, %s: NO REASON\n", a.Name, privilege)
		}
	}
	return nil
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
