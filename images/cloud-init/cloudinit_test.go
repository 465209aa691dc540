package cloudinit

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/netdata"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/platform"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/userdata"
)

func TestCandidates(t *testing.T) {
	device := func(name, kind, label string) blockdev.Device {
		return blockdev.Device{Name: name, Path: "/dev/" + name, Info: blockdev.Info{Type: kind, Label: label}}
	}
	state, seed, udf := device("vda1", "ext4", "RANCHER_STATE"), device("sr0", "iso9660", "cidata"), device("sr1", "", "")
	seedDisk, optical := platform.Disk{Labels: []string{"cidata"}}, platform.Disk{Optical: true}
	tests := []struct {
		name    string
		disk    platform.Disk
		devices []blockdev.Device
		want    []string
	}{
		{"none", seedDisk, []blockdev.Device{state, udf}, nil},
		{"label", seedDisk, []blockdev.Device{state, seed}, []string{"sr0"}},
		{"FAT label", seedDisk, []blockdev.Device{device("vdb", "vfat", "CIDATA")}, []string{"vdb"}},
		{"two", seedDisk, []blockdev.Device{seed, device("vdb", "iso9660", "cidata")}, []string{"sr0", "vdb"}},
		{"optical", optical, []blockdev.Device{state, seed, udf}, []string{"sr0", "sr1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, d := range candidates(tt.devices, &tt.disk) {
				got = append(got, d.Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("candidates (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadMounted(t *testing.T) {
	disk := platform.Disk{Marker: "user-data", Read: func(files datasource.Files) (datasource.Result, error) {
		return datasource.NoCloud("", files)
	}}
	if _, err := readMounted(fstest.MapFS{"other": {}}, &disk); !errors.Is(err, platform.ErrAbsent) {
		t.Errorf("other disk: error %v; want %v", err, platform.ErrAbsent)
	}
	res, err := readMounted(fstest.MapFS{"user-data": {Data: []byte("#!")}}, &disk)
	if err != nil || string(res.UserData) != "#!" {
		t.Errorf("readMounted = %v, %v", res, err)
	}
}

func TestRemote(t *testing.T) {
	network := func(name string) platform.Source { return platform.Source{Name: name, Network: true} }
	disk := func(name string) platform.Source { return platform.Source{Name: name} }
	tests := []struct {
		name    string
		sources []platform.Source
		found   int
		want    string
	}{
		{"bare metal", []platform.Source{disk("configdrive"), disk("nocloud")}, -1, ""},
		{"no disk", []platform.Source{disk("configdrive"), network("ec2")}, -1, "ec2"},
		{"disk", []platform.Source{disk("configdrive"), network("openstack")}, 0, ""},
		{"preferred to the disk", []platform.Source{network("cmdline"), disk("configdrive"), network("ec2")}, 1, "cmdline"},
		{"completes the disk", []platform.Source{disk("configdrive"), disk("azure"), network("azure"), network("ec2")}, 1, "azure"},
	}
	for _, tt := range tests {
		if got := names(remote(tt.sources, tt.found)); got != tt.want {
			t.Errorf("%s: remote = %q; want %q", tt.name, got, tt.want)
		}
	}
}

func TestChoose(t *testing.T) {
	answer := func(name, host string, data string, err error) platform.Answer {
		return platform.Answer{
			Source: platform.Source{Name: name}, Err: err, Found: err == nil,
			Result: datasource.Result{Metadata: osconfig.Metadata{Hostname: osconfig.Hostname(host)}, UserData: []byte(data)},
		}
	}
	fault := errors.New("fault")
	disk := answer("azure", "", "disk", nil)
	tests := []struct {
		name     string
		local    platform.Answer
		answers  []platform.Answer
		best     int
		want     string // "source host data"
		complain int
	}{
		{"nobody", platform.Answer{}, []platform.Answer{answer("ec2", "", "", fault)}, -1, "  ", 1},
		{"disk only", disk, []platform.Answer{answer("azure", "", "", fault)}, -1, "azure  disk", 1},
		{"completed", disk, []platform.Answer{answer("azure", "h", "service", nil)}, 0, "azure h disk", 0},
		{"preferred", disk, []platform.Answer{answer("url", "", "web", nil)}, 0, "url  web", 0},
		{"one of two", platform.Answer{}, []platform.Answer{answer("url", "", "", fault), answer("ec2", "h", "x", nil)}, 1, "ec2 h x", 0},
	}
	for _, tt := range tests {
		a, failed := choose(tt.local, tt.answers, tt.best)
		got := a.Source.Name + " " + string(a.Result.Metadata.Hostname) + " " + string(a.Result.UserData)
		if got != tt.want || len(failed) != tt.complain {
			t.Errorf("%s: choose = %q, %d complaints; want %q, %d", tt.name, got, len(failed), tt.want, tt.complain)
		}
	}
}

func TestTake(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked > 1 {
			http.NotFound(w, nil)
			return
		}
		_, _ = w.Write([]byte("#!/bin/sh\n"))
	}))
	defer server.Close()
	a := platform.Answer{Result: datasource.Result{
		UserData:   []byte("#include-once\n" + server.URL + "\n"),
		VendorData: []byte("#cloud-config\n"),
	}}
	cache := filepath.Join(t.TempDir(), "cache")
	ctx := t.Context()

	f, _, later := take(ctx, a, &includer{cache: cache})
	if !later || len(f.vendor.Configs) != 1 {
		t.Errorf("without a network: later = %v, %d vendor configs; want true, 1", later, len(f.vendor.Configs))
	}
	for _, boot := range []string{"first", "next"} {
		inc := &includer{download: platform.Download, cache: cache}
		f, problems, later := take(ctx, a, inc)
		if err := errors.Join(problems...); err != nil || later || inc.missed || len(f.user.Scripts) != 1 {
			t.Errorf("%s boot: %d scripts, error %v, later %v; want 1", boot, len(f.user.Scripts), err, later)
		}
	}
	inc := &includer{download: func(context.Context, string) ([]byte, error) { return nil, errors.New("gone") }, cache: t.TempDir()}
	if _, problems, later := take(ctx, a, inc); errors.Join(problems...) == nil || later || !inc.missed {
		t.Errorf("unreachable: problems %v, later %v, missed %v", problems, later, inc.missed)
	}
}

// modes lists the stored files below root with their modes.
func modes(t *testing.T, root string) map[string]fs.FileMode {
	t.Helper()
	found := map[string]fs.FileMode{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		found["/"+path] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestStore(t *testing.T) {
	root := t.TempDir()
	texts := func(list ...string) (out [][]byte) {
		for _, text := range list {
			out = append(out, []byte(text))
		}
		return out
	}
	all := finding{
		res: datasource.Result{
			Metadata: osconfig.Metadata{Datasource: "cidata", Hostname: "h", PublicKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1WvrLH3EyZ1Q5W7UYdR4yQw8v9F1s0T2m3c4b5a6d7"}},
			Network:  netdata.Network{DNS: netdata.DNS{Nameservers: []string{"192.0.2.53"}}},
		},
		vendor: userdata.UserData{Configs: texts("hostname: vendor\nrancher: {sysctl: {vendor: 1}}\n"), Scripts: []userdata.Script{{Body: []byte("#!v")}}},
		user: userdata.UserData{
			Configs: texts("hostname: first\nrancher: {sysctl: {first: 1}}\n", "hostname: last\n"),
			Scripts: []userdata.Script{{Name: "../my script.sh", Body: []byte("#!1"), When: userdata.OnceEver}, {Body: []byte("#!2"), When: userdata.EachBoot}, {Body: []byte("#!3"), When: userdata.OncePerInstance}},
		},
	}
	if err := all.store(root); err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{
		layout.CloudConfigDir + "/boot-00-vendor-01.yml": 0o600,
		layout.CloudConfigDir + "/boot-10-network.yml":   0o600,
		layout.CloudConfigDir + "/boot-20-part-01.yml":   0o600,
		layout.UserData:                               0o600,
		layout.Metadata:                               0o600,
		layout.UserScripts + "/001-script":            0o700,
		layout.UserScripts + "/002-my-script-sh.once": 0o700,
		layout.UserScripts + "/003-script.boot":       0o700,
		layout.UserScripts + "/004-script.instance":   0o700,
	}
	if diff := cmp.Diff(want, modes(t, root)); diff != "" {
		t.Errorf("files and modes (-want +got):\n%s", diff)
	}
	cfg, _, err := osconfig.Load(root, "")
	if err != nil || cfg.Hostname != "last" || cfg.Rancher.Sysctl["vendor"] != "1" || cfg.Rancher.Sysctl["first"] != "1" || len(cfg.SSHAuthorizedKeys) != 1 {
		t.Errorf("host name %s, sysctls %v, error %v; want the last host name, both sysctls and a key", cfg.Hostname, cfg.Rancher.Sysctl, err)
	}

	// What could not be got this time leaves the old in force.
	kept := finding{keepUser: true, res: datasource.Result{Metadata: osconfig.Metadata{Hostname: "new"}}}
	if err := kept.store(root); err != nil {
		t.Fatal(err)
	}
	delete(want, layout.CloudConfigDir+"/boot-10-network.yml")
	if diff := cmp.Diff(want, modes(t, root)); diff != "" {
		t.Errorf("files and modes, user data kept (-want +got):\n%s", diff)
	}

	// The next boot's disk has a script instead: no trace of the old data stays.
	script := finding{user: userdata.UserData{Scripts: []userdata.Script{{Body: []byte("#!/bin/sh\n")}}}}
	if err := script.store(root); err != nil {
		t.Fatal(err)
	}
	want = map[string]fs.FileMode{layout.UserScript: 0o700, layout.Metadata: 0o600}
	if diff := cmp.Diff(want, modes(t, root)); diff != "" {
		t.Errorf("files and modes of a script (-want +got):\n%s", diff)
	}
}

func TestParseRoutes(t *testing.T) {
	const header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	tests := []struct{ table, want string }{
		{header + "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", "192.0.2.1"},
		{header, ""},
		{"", ""},
		{header + "eth0\t00000000\tXYZ\t0003\n", ""},
		{header + "ppp0\t00000000\t00000000\t0001\n", ""},
	}
	for _, tt := range tests {
		got, err := parseRoutes(tt.table)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("parseRoutes(%q) = %q, %v; want %q", tt.table, got, err, tt.want)
		}
	}
}

func TestWriteNames(t *testing.T) {
	dir := t.TempDir()
	hostsFile := filepath.Join(dir, "hosts")
	if err := os.WriteFile(hostsFile, []byte(strings.Repeat("old\n", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(hostsFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeNames(dir, "web1", "web1.example.org", true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(hostsFile)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\n127.0.1.1 web1.example.org web1\n"; !strings.Contains(string(text), want) || strings.Contains(string(text), "old") {
		t.Errorf("hosts = %q; want %q and nothing old", text, want)
	}
	after, err := os.Stat(hostsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("hosts is a new file; containers that bind it would keep the old one")
	}
}
