package platform

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// machines are what real machines' firmware says.
var machines = []struct {
	name string
	dmi  DMI
	want []string
}{
	{"nothing", DMI{}, nil},
	{"desktop", DMI{SysVendor: "To Be Filled By O.E.M.", ProductName: "To Be Filled By O.E.M.", BIOSVendor: "American Megatrends Inc.", ChassisAssetTag: "To Be Filled By O.E.M."}, nil},
	{"server", DMI{SysVendor: "Dell Inc.", ProductName: "PowerEdge R650", ProductSerial: "ABC1234", BIOSVendor: "Dell Inc."}, nil},
	{"QEMU", DMI{SysVendor: "QEMU", ProductName: "Standard PC (Q35 + ICH9, 2009)", BIOSVendor: "SeaBIOS"}, nil},
	{"Proxmox VE", DMI{SysVendor: "QEMU", ProductName: "Standard PC (i440FX + PIIX, 1996)", BIOSVendor: "Proxmox distribution of EDK II"}, nil},
	{"Hyper-V", DMI{SysVendor: "Microsoft Corporation", ProductName: "Virtual Machine", ChassisAssetTag: "3810-9254-5487-0961-2113-7755-71"}, nil},
	{"VirtualBox", DMI{SysVendor: "innotek GmbH", ProductName: "VirtualBox", BIOSVendor: "innotek GmbH"}, nil},
	{"EC2 on Nitro", DMI{SysVendor: "Amazon EC2", ProductName: "t3.micro", ProductUUID: "ec21a2b3-0000-0000-0000-000000000000", BIOSVendor: "Amazon EC2", ChassisAssetTag: "Amazon EC2"}, []string{"ec2"}},
	{"EC2 on Xen", DMI{SysVendor: "Xen", ProductName: "HVM domU", ProductUUID: "EC2A1B2C-0000-0000-0000-000000000000", BIOSVersion: "4.11.amazon"}, []string{"ec2"}},
	{"Xen elsewhere", DMI{SysVendor: "Xen", ProductName: "HVM domU", ProductUUID: "ec2a1b2c-0000-0000-0000-000000000000", BIOSVersion: "4.11.4"}, nil},
	{"GCE", DMI{SysVendor: "Google", ProductName: "Google Compute Engine", ProductSerial: "GoogleCloud-0123456789ABCDEF", BIOSVendor: "Google"}, []string{"gce"}},
	{"Chromebook", DMI{SysVendor: "Google", ProductName: "Eve"}, nil},
	{"Azure", DMI{SysVendor: "Microsoft Corporation", ProductName: "Virtual Machine", ChassisAssetTag: "7783-7084-3265-9085-8269-3286-77"}, []string{"azure"}},
	{"DigitalOcean", DMI{SysVendor: "DigitalOcean", ProductName: "Droplet", ProductSerial: "2756294"}, []string{"digitalocean"}},
	{"Hetzner", DMI{SysVendor: "Hetzner", ProductName: "vServer", ProductSerial: "42"}, []string{"hetzner"}},
	{"Oracle", DMI{SysVendor: "QEMU", ProductName: "Standard PC (i440FX + PIIX, 1996)", ChassisAssetTag: "OracleCloud.com"}, []string{"oracle"}},
	{"Vultr", DMI{SysVendor: "Vultr", ProductName: "VHF", ProductSerial: "42872224"}, []string{"vultr"}},
	{"Scaleway", DMI{SysVendor: "Scaleway", ProductName: "SCW-DEV1-S"}, []string{"scaleway"}},
	{"Exoscale", DMI{SysVendor: "Exoscale", ProductName: "Exoscale Compute Platform"}, []string{"exoscale"}},
	{"CloudStack", DMI{SysVendor: "Apache Software Foundation", ProductName: "CloudStack KVM Hypervisor"}, []string{"cloudstack"}},
	{"Alibaba", DMI{SysVendor: "Alibaba Cloud", ProductName: "Alibaba Cloud ECS"}, []string{"aliyun"}},
	{"VMware", DMI{SysVendor: "VMware, Inc.", ProductName: "VMware Virtual Platform", BIOSVendor: "Phoenix Technologies LTD"}, []string{"vmware"}},
	{"VMware 7", DMI{SysVendor: "VMware, Inc.", ProductName: "VMware7,1"}, []string{"vmware"}},
	{"OpenStack", DMI{SysVendor: "OpenStack Foundation", ProductName: "OpenStack Nova"}, []string{"openstack"}},
	{"OpenStack on VMware", DMI{SysVendor: "VMware, Inc.", ProductName: "VMware Virtual Platform", ChassisAssetTag: "SAP CCloud VM"}, []string{"vmware", "openstack"}},
	{"Open Telekom Cloud", DMI{SysVendor: "OpenStack Foundation", ProductName: "RDO OpenStack Compute", ChassisAssetTag: "OpenTelekomCloud"}, []string{"openstack"}},
}

func TestDetect(t *testing.T) {
	for _, tt := range machines {
		if diff := cmp.Diff(tt.want, Detect(tt.dmi)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestReadDMI(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"sys_vendor": "QEMU\n", "product_serial": " ds=nocloud \n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(DMI{SysVendor: "QEMU", ProductSerial: "ds=nocloud"}, ReadDMI(dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// places writes sources down, with a mark for those on the network.
func places(sources []Source) []string {
	var list []string
	for _, s := range sources {
		text := s.String()
		if s.Network {
			text += " network"
		}
		list = append(list, text)
	}
	return list
}

func TestSelect(t *testing.T) {
	const configDrive, noCloud = "configdrive (config-2)", "nocloud (cidata)"
	tests := []struct {
		name       string
		configured []string
		machine    Machine
		want       []string
		wantErr    bool
	}{
		{name: "bare metal", want: []string{configDrive, noCloud}},
		{name: "detected", machine: Machine{DMI: DMI{SysVendor: "Amazon EC2"}}, want: []string{configDrive, noCloud, "ec2 (http://169.254.169.254) network"}},
		{name: "Azure", machine: Machine{DMI: DMI{ChassisAssetTag: "7783-7084-3265-9085-8269-3286-77"}},
			want: []string{configDrive, noCloud, "azure (ovf-env.xml)", "azure (http://169.254.169.254) network"}},
		{name: "the choice beats the detection", configured: []string{"openstack"}, machine: Machine{DMI: DMI{SysVendor: "VMware, Inc."}},
			want: []string{"openstack (http://169.254.169.254) network"}},
		{name: "kernel line", machine: Machine{KernelLine: "quiet cloud-config-url=https://user:secret@example.org/c?token=x ds=nocloud;h=web;s=http://192.0.2.1/seed/"},
			want: []string{"cmdline (https://user:xxxxx@example.org/c?…) network", "nocloud (http://192.0.2.1/seed/) network", configDrive, noCloud}},
		{name: "serial number", machine: Machine{DMI: DMI{SysVendor: "QEMU", ProductSerial: "ds=nocloud-net;s=http://10.0.2.2:8000/"}},
			want: []string{"nocloud (http://10.0.2.2:8000/) network", configDrive, noCloud}},
		{name: "serial number without a place", machine: Machine{DMI: DMI{ProductSerial: "ds=nocloud"}}, want: []string{configDrive, noCloud}},
		{name: "other cloud's ds", machine: Machine{KernelLine: "ds=ec2;s=http://192.0.2.1/"}, want: []string{configDrive, noCloud}},

		{name: "RancherOS's default", configured: []string{"configdrive:/media/config-2"}, want: []string{configDrive}},
		{name: "cloud-init's names", configured: []string{"NoCloud", "ConfigDrive", "Ec2", "None"}, want: []string{noCloud, configDrive, "ec2 (http://169.254.169.254) network"}},
		{name: "places", configured: []string{"file:/var/lib/rancher/c.yml", "url:https://example.org/c", "tftp:192.0.2.1/dir/c", "ec2:http://192.0.2.1", "nocloud:/var/lib/rancher/seed", "nocloud:http://192.0.2.1/", "cloudstack"},
			want: []string{"file (/var/lib/rancher/c.yml)", "url (https://example.org/c) network", "tftp (tftp://192.0.2.1/dir/c) network", "ec2 (http://192.0.2.1) network",
				"nocloud (/var/lib/rancher/seed)", "nocloud (http://192.0.2.1/) network", "cloudstack network"}},
		{name: "Proxmox", configured: []string{"proxmox"}, want: []string{configDrive, noCloud, "proxmox"}},
		{name: "none", configured: []string{"None"}},
		{name: "cmdline without address", configured: []string{"cmdline"}},
		{name: "mistakes", configured: []string{"file:relative", "url:ftp://x/", "ec2:nowhere", "cloudstack:x", "nocloud:ftp://x", "ec3", "url", "gce"}, wantErr: true, want: []string{"gce (http://metadata.google.internal) network"}},
		{name: "everything", configured: []string{"*"}, machine: Machine{}, want: []string{
			configDrive, "vmware (guestinfo)", "vmware (ovf-env.xml)", "ec2 (http://169.254.169.254) network", "digitalocean (http://169.254.169.254) network",
			"packet (https://metadata.platformequinix.com) network", "gce (http://metadata.google.internal) network", "cloudstack network", "exoscale (http://169.254.169.254) network",
			configDrive, noCloud, "proxmox",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.machine.Files = fstest.MapFS{}
			sources, err := Select(tt.configured, tt.machine)
			if (err != nil) != tt.wantErr {
				t.Errorf("error = %v; want one: %v", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, places(sources)); diff != "" {
				t.Errorf("sources (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSourcesAreWhole: a source is a disk or can be asked.
func TestSourcesAreWhole(t *testing.T) {
	for _, k := range kinds() {
		item := k.names[0]
		switch item {
		case "file":
			item += ":/x"
		case "url", "tftp":
			item += ":http://x/y"
		}
		sources, err := New(item, Machine{Files: fstest.MapFS{}, KernelLine: "url=http://x/"})
		if err != nil || len(sources) == 0 {
			t.Errorf("New(%s) = %v, %v", item, sources, err)
		}
		for _, s := range sources {
			if (s.Disk == nil) == (s.Fetch == nil) || s.Disk != nil && s.Network {
				t.Errorf("%s: want a disk, or something to ask", s)
			}
		}
	}
}
