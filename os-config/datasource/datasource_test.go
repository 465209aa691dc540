package datasource

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/netdata"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestRead(t *testing.T) {
	const (
		userData    = "openstack/latest/user_data"
		metaData    = "openstack/latest/meta_data.json"
		networkData = "openstack/latest/network_data.json"
		vendorData  = "openstack/latest/vendor_data.json"
	)
	eth0 := netdata.Network{Interfaces: map[string]*netdata.Interface{"mac=52:54:00:12:34:56": {DHCP: true}}}
	named := netdata.Network{Interfaces: map[string]*netdata.Interface{"mac=52:54:00:12:34:56": {SetName: "eth0", DHCP: true}}}
	tests := []struct {
		name    string
		read    func(string, Files) (Result, error)
		files   fstest.MapFS
		want    Result
		wantErr bool
	}{
		{"config drive", OpenStack, fstest.MapFS{
			userData:    file("#cloud-config\n"),
			metaData:    file(`{"uuid": "83679162", "hostname": "test.novalocal", "name": "test", "public_keys": {"b": "ssh-rsa B\n", "a": "ssh-rsa A"}, "meta": {"x": "y"}}`),
			networkData: file(`{"links": [{"id": "tap1", "type": "ovs", "ethernet_mac_address": "52:54:00:12:34:56"}], "networks": [{"id": "n", "type": "ipv4_dhcp", "link": "tap1"}]}`),
			vendorData:  file(`{"cloud-init": "#cloud-config\n{}"}`),
		}, Result{
			Metadata:   osconfig.Metadata{InstanceID: "83679162", Hostname: "test.novalocal", PublicKeys: []string{"ssh-rsa A", "ssh-rsa B"}},
			UserData:   []byte("#cloud-config\n"),
			VendorData: []byte("#cloud-config\n{}"),
			Network:    eth0,
		}, false},
		{"config drive without metadata", OpenStack, fstest.MapFS{userData: file("#!/bin/sh\n")}, Result{UserData: []byte("#!/bin/sh\n")}, false},
		{"empty config drive", OpenStack, fstest.MapFS{}, Result{}, false},
		{"config drive with broken metadata", OpenStack, fstest.MapFS{userData: file("x"), metaData: file("{"), networkData: file("[]"), vendorData: file("7")},
			Result{UserData: []byte("x")}, true},
		{"config drive with a bad host name", OpenStack, fstest.MapFS{metaData: file(`{"hostname": "a b", "public_keys": {"a": "A"}}`)},
			Result{Metadata: osconfig.Metadata{PublicKeys: []string{"A"}}}, true},
		{"vendor data that is a list", OpenStack, fstest.MapFS{vendorData: file(`{"cloud-init": ["a", "b"]}`)},
			Result{VendorData: []byte("#cloud-config-archive\n[\"a\", \"b\"]")}, false},
		{"vendor data for others", OpenStack, fstest.MapFS{vendorData: file(`{"other": 1}`)}, Result{}, false},
		// Proxmox's disk of type configdrive2.
		{"config drive with Debian's interfaces", OpenStack, fstest.MapFS{
			metaData:                 file("{\n     \"uuid\": \"4d3c2b1a\",\n     \"network_config\" :{ \"content_path\": \"/content/0000\" }\n}\n"),
			"openstack/content/0000": file("auto lo\niface lo inet loopback\n\n        dns_nameservers 10.0.0.1\n        dns_search example.org\nauto eth0\niface eth0 inet static\n        address 10.0.0.5\n        netmask 255.255.255.0\n        gateway 10.0.0.1\n"),
		}, Result{
			Metadata: osconfig.Metadata{InstanceID: "4d3c2b1a"},
			Network: netdata.Network{
				Interfaces: map[string]*netdata.Interface{"eth0": {Addresses: []string{"10.0.0.5/24"}, Gateway: "10.0.0.1"}},
				DNS:        netdata.DNS{Nameservers: []string{"10.0.0.1"}, Search: []string{"example.org"}},
			},
		}, false},

		{"seed disk", NoCloud, fstest.MapFS{
			"user-data":      file("#cloud-config\n"),
			"vendor-data":    file("#!/bin/sh\n"),
			"meta-data":      file("instance-id: iid-1\nlocal-hostname: cloudimg\npublic-keys:\n- ssh-ed25519 A\n- ssh-ed25519 B\n"),
			"network-config": file("version: 2\nethernets:\n  id0:\n    match: {macaddress: '52:54:00:12:34:56'}\n    dhcp4: true\n"),
		}, Result{
			Metadata:   osconfig.Metadata{InstanceID: "iid-1", Hostname: "cloudimg", PublicKeys: []string{"ssh-ed25519 A", "ssh-ed25519 B"}},
			UserData:   []byte("#cloud-config\n"),
			VendorData: []byte("#!/bin/sh\n"),
			Network:    eth0,
		}, false},
		// Proxmox's disk of type nocloud.
		{"Proxmox's seed disk", NoCloud, fstest.MapFS{
			"user-data":      file("#cloud-config\nhostname: vm1\n"),
			"meta-data":      file("instance-id: 5b7e2c9d0f1a\n"),
			"network-config": file("version: 1\nconfig:\n    - type: physical\n      name: eth0\n      mac_address: '52:54:00:12:34:56'\n      subnets:\n      - type: dhcp4\n"),
		}, Result{Metadata: osconfig.Metadata{InstanceID: "5b7e2c9d0f1a"}, UserData: []byte("#cloud-config\nhostname: vm1\n"), Network: named}, false},
		{"seed disk with named keys", NoCloud, fstest.MapFS{"meta-data": file(`{"instance-id": 7, "hostname": "h", "public-keys": {"0": {"openssh-key": "A"}, "1": "B\n\n# old\nC"}}`)},
			Result{Metadata: osconfig.Metadata{InstanceID: "7", Hostname: "h", PublicKeys: []string{"A", "B", "C"}}}, false},
		{"seed disk with empty metadata", NoCloud, fstest.MapFS{"user-data": file("x"), "meta-data": file("")}, Result{UserData: []byte("x")}, false},
		{"seed disk with broken metadata", NoCloud, fstest.MapFS{"user-data": file("x"), "meta-data": file("a: [")}, Result{UserData: []byte("x")}, true},
		{"seed disk with a bad network", NoCloud, fstest.MapFS{"user-data": file("x"), "network-config": file("version: 3")}, Result{UserData: []byte("x")}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.read("name", FromFS(tt.files))
			if (err != nil) != tt.wantErr {
				t.Errorf("error = %v; want one: %v", err, tt.wantErr)
			}
			tt.want.Metadata.Datasource = "name"
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(netdata.Interface{})); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

type failing struct{}

func (failing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("input/output error")}
}

func TestReadFails(t *testing.T) {
	for name, read := range map[string]func(string, Files) (Result, error){"OpenStack": OpenStack, "NoCloud": NoCloud} {
		if res, err := read("name", FromFS(failing{})); err == nil || !res.Empty() {
			t.Errorf("%s of a bad disk = %v, %v; want nothing and an error", name, res, err)
		}
	}
}

func TestFill(t *testing.T) {
	disk := Result{Metadata: osconfig.Metadata{Hostname: "disk"}, UserData: []byte("disk")}
	disk.Fill(Result{
		Metadata: osconfig.Metadata{Hostname: "service", InstanceID: "id", PublicKeys: []string{"k"}},
		UserData: []byte("service"), VendorData: []byte("vendor"),
	})
	want := Result{
		Metadata: osconfig.Metadata{Hostname: "disk", InstanceID: "id", PublicKeys: []string{"k"}},
		UserData: []byte("disk"), VendorData: []byte("vendor"),
	}
	if diff := cmp.Diff(want, disk); diff != "" {
		t.Errorf("Fill (-want +got):\n%s", diff)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", `{"public_keys": {"a": 1}}`, "public-keys: &a [*a]", "public-keys: {0: {x: [y]}}", `{"cloud-init": []}`, `{"network_config": {"content_path": "/../x"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		all := func(string) ([]byte, error) { return data, nil }
		_, _ = OpenStack("", all)
		_, _ = NoCloud("", all)
	})
}
