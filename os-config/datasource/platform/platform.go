// Package platform knows the places where clouds, hypervisors and people put
// what configures a machine, how each is asked, and which of them a machine is
// likely to have. It stores nothing and changes nothing.
package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// A Source is one place. It has either a Disk or a Fetch.
type Source struct {
	// Name is the canonical one of its kind. Sources of the same name
	// complete each other: Azure's disk and its metadata service.
	Name string
	// Place says where it is, for people.
	Place string
	// Network is set for a source that is asked over the network.
	Network bool
	Disk    *Disk
	// Fetch returns what is right together with an error about the rest,
	// ErrAbsent among it when the source is not there at all.
	Fetch func(context.Context) (datasource.Result, error)
}

func (s Source) String() string {
	if s.Place == "" {
		return s.Name
	}
	return s.Name + " (" + s.Place + ")"
}

// A Disk is a source on a file system of its own.
type Disk struct {
	// Labels are those of the file system, whatever their case.
	Labels []string
	// Optical admits any optical disk that has the file Marker.
	Optical bool
	Marker  string
	// Read returns what is right together with an error about the rest.
	Read func(datasource.Files) (datasource.Result, error)
}

// A Machine is what tells which sources there are.
type Machine struct {
	DMI DMI
	// KernelLine is the kernel command line.
	KernelLine string
	// Files are the files of the machine, for sources that are one.
	Files fs.FS
	// Gateway is the address of the IPv4 default gateway; it is asked for
	// when the network is up.
	Gateway func() (string, error)
	// Guestinfo reads a VMware guestinfo variable, "" when it is not set.
	Guestinfo func(ctx context.Context, key string) (string, error)
}

// A kind is a kind of source.
type kind struct {
	names []string // in lower case, the canonical first
	// place is the base address, "" for a kind without one, or one that
	// must be given.
	place string
	make  func(name, place string, m Machine) ([]Source, error)
}

// kinds are all there are.
func kinds() []kind {
	return []kind{
		{[]string{"configdrive", "config-2"}, "", disk(Disk{Labels: []string{"config-2"}}, datasource.OpenStack)},
		{[]string{"nocloud", "nocloud-net", "cidata"}, "", noCloud},
		{[]string{"proxmox"}, "", proxmox},
		{[]string{"file"}, "", file},
		{[]string{"url"}, "", download},
		{[]string{"tftp"}, "", download},
		{[]string{"cmdline"}, "", cmdlineURL},
		{[]string{"ec2"}, linkLocal, over(ec2)},
		{[]string{"gce"}, "http://metadata.google.internal", over(gce)},
		{[]string{"azure"}, linkLocal, azure},
		{[]string{"openstack"}, linkLocal, over(openStack)},
		{[]string{"digitalocean"}, linkLocal, over(digitalOcean)},
		{[]string{"hetzner"}, linkLocal, over(hetzner)},
		{[]string{"oracle"}, linkLocal, over(oracle)},
		{[]string{"vultr"}, linkLocal, over(vultr)},
		{[]string{"scaleway"}, "http://169.254.42.42", over(scaleway)},
		{[]string{"packet", "equinix"}, "https://metadata.platformequinix.com", over(packet)},
		{[]string{"cloudstack"}, "", cloudStack},
		{[]string{"exoscale"}, linkLocal, over(exoscale)},
		{[]string{"aliyun"}, "http://100.100.100.200", over(aliyun)},
		{[]string{"vmware", "ovf"}, "", vmware},
	}
}

// Addresses are those by which platforms describe their machines.
func Addresses() []netip.Addr {
	var found []netip.Addr
	for _, k := range kinds() {
		u, err := url.Parse(k.place)
		if err != nil {
			continue
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && !slices.Contains(found, a) {
			found = append(found, a)
		}
	}
	return found
}

// linkLocal is where most platforms answer.
const linkLocal = "http://169.254.169.254"

// every is what RancherOS meant by "*".
var every = []string{"configdrive", "vmware", "ec2", "digitalocean", "packet", "gce", "cloudstack", "exoscale", "proxmox"}

// ErrUnknown means that no source has this name.
var ErrUnknown = errors.New("unknown source")

// New returns the sources that an item of rancher.cloud_init.datasources
// means: "NAME" or "NAME:PLACE", where the name is RancherOS's or cloud-init's
// and the place another one than the usual.
func New(item string, m Machine) ([]Source, error) {
	name, place, _ := strings.Cut(strings.TrimSpace(item), ":")
	name = strings.ToLower(name)
	if name == "none" {
		return nil, nil
	}
	if name == "*" {
		return sourcesOf(every, m)
	}
	for _, k := range kinds() {
		if slices.Contains(k.names, name) {
			if place == "" {
				place = k.place
			}
			if name == "tftp" {
				place = "tftp://" + strings.TrimPrefix(place, "//")
			}
			sources, err := k.make(k.names[0], place, m)
			if err != nil {
				return nil, fmt.Errorf("%.40q: %w", item, err)
			}
			return sources, nil
		}
	}
	return nil, fmt.Errorf("%.40q: %w", item, ErrUnknown)
}

func sourcesOf(items []string, m Machine) ([]Source, error) {
	var all []Source
	var errs []error
	for _, item := range items {
		sources, err := New(item, m)
		all, errs = append(all, sources...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// Select returns the sources to try, the preferred first: those that the
// configuration names, or else those that the kernel command line and the
// firmware hint at, after the disks, which cost nothing.
func Select(configured []string, m Machine) ([]Source, error) {
	if len(configured) > 0 {
		return sourcesOf(configured, m)
	}
	return sourcesOf(append(append(explicit(m), "configdrive", "nocloud"), Detect(m.DMI)...), m)
}

// over makes a kind that is asked over the network from how it is asked.
func over(ask func(ctx context.Context, base string) (datasource.Result, error)) func(string, string, Machine) ([]Source, error) {
	return func(name, place string, _ Machine) ([]Source, error) {
		if err := checkBase(place); err != nil {
			return nil, err
		}
		return []Source{{Name: name, Place: place, Network: true, Fetch: func(ctx context.Context) (datasource.Result, error) {
			res, err := ask(ctx, strings.TrimSuffix(place, "/"))
			res.Metadata.Datasource = name
			return res, err
		}}}, nil
	}
}

func checkBase(base string) error {
	if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("expected an address such as http://host behind the colon, or nothing")
	}
	return nil
}

// disk makes a kind that is on a disk. RancherOS let the place say where the
// disk was to be mounted, which has no meaning here.
func disk(d Disk, read func(string, datasource.Files) (datasource.Result, error)) func(string, string, Machine) ([]Source, error) {
	return func(name, _ string, _ Machine) ([]Source, error) {
		d := d
		d.Read = func(files datasource.Files) (datasource.Result, error) { return read(name, files) }
		return []Source{{Name: name, Place: strings.Join(d.Labels, ", "), Disk: &d}}, nil
	}
}

// noCloud is a disk, or a place on the web or in the file system that has the
// same files.
func noCloud(name, place string, m Machine) ([]Source, error) {
	switch {
	case place == "":
		return disk(Disk{Labels: []string{"cidata"}}, datasource.NoCloud)(name, place, m)
	case strings.HasPrefix(place, "/"), strings.HasPrefix(place, "file://"):
		dir := strings.Trim(strings.TrimPrefix(place, "file://"), "/")
		seed, err := fs.Sub(m.Files, dir)
		if err != nil {
			return nil, err
		}
		return []Source{{Name: name, Place: "/" + dir, Fetch: func(context.Context) (datasource.Result, error) {
			if _, err := fs.Stat(seed, "."); errors.Is(err, fs.ErrNotExist) {
				return datasource.Result{}, ErrAbsent
			}
			return datasource.NoCloud(name, datasource.FromFS(seed))
		}}}, nil
	}
	return over(noCloudSeed)(name, place, m)
}

func noCloudSeed(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base)
	defer c.close()
	// Of the files, only this one must be there.
	meta, err := c.get(ctx, "/meta-data")
	if err != nil {
		return datasource.Result{}, err
	}
	return datasource.NoCloud("", func(name string) ([]byte, error) {
		if name == "meta-data" {
			return meta, nil
		}
		return c.getOptional(ctx, "/"+name)
	})
}

// proxmox is a disk with user data that needs no label; Proxmox's own disks
// are those of configdrive and nocloud.
func proxmox(name, _ string, m Machine) ([]Source, error) {
	own, err := sourcesOf([]string{"configdrive", "nocloud"}, m)
	if err != nil {
		return nil, err
	}
	unlabelled, err := disk(Disk{Optical: true, Marker: "user-data"}, datasource.NoCloud)(name, "", m)
	return append(own, unlabelled...), err
}

func openStack(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base)
	defer c.close()
	meta, err := c.get(ctx, "/openstack/latest/meta_data.json")
	if err != nil {
		return datasource.Result{}, err
	}
	return datasource.OpenStack("", func(name string) ([]byte, error) {
		if name == "openstack/latest/meta_data.json" {
			return meta, nil
		}
		return c.getOptional(ctx, "/"+name)
	})
}

// userDataOnly is what the simple sources give.
func userDataOnly(name string, data []byte) datasource.Result {
	return datasource.Result{Metadata: osconfig.Metadata{Datasource: name}, UserData: data}
}

func file(name, place string, m Machine) ([]Source, error) {
	if !strings.HasPrefix(place, "/") {
		return nil, errors.New("expected an absolute path behind the colon")
	}
	return []Source{{Name: name, Place: place, Fetch: func(context.Context) (datasource.Result, error) {
		data, err := datasource.FromFS(m.Files)(strings.TrimPrefix(place, "/"))
		if err == nil && data == nil {
			err = ErrAbsent
		}
		return userDataOnly(name, data), err
	}}}, nil
}

func download(name, place string, _ Machine) ([]Source, error) {
	if u, err := url.Parse(place); err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "tftp"}, u.Scheme) {
		return nil, errors.New("expected an address behind the colon: http, https or tftp")
	}
	return []Source{{Name: name, Place: redact(place), Network: true, Fetch: func(ctx context.Context) (datasource.Result, error) {
		data, err := Download(ctx, place)
		return userDataOnly(name, data), err
	}}}, nil
}

func cmdlineURL(name, _ string, m Machine) ([]Source, error) {
	address := cloudConfigURL(m.KernelLine)
	if address == "" {
		return nil, nil
	}
	return download(name, address, m)
}

// HostFiles are the files of the running machine.
func HostFiles() fs.FS { return os.DirFS("/") }
