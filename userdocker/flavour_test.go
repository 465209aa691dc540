package userdocker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlavour(t *testing.T) {
	file := filepath.Join(t.TempDir(), "engine.json")
	if f, err := readFlavour(file); err != nil || !cmp.Equal(f, flavour{}) {
		t.Errorf("without a file: %+v, %v", f, err)
	}
	for text, says := range map[string]string{
		`{"containerd_config": 3}`: "want 2",
		`{"setting": {}}`:          `unknown field "setting"`,
		`[]`:                       "cannot unmarshal",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readFlavour(file); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", text, err, says)
		}
	}
	const debian = `{"containerd_config": 2, "settings": {"firewall-backend": null, "features": {"containerd-snapshotter": true}}}`
	if err := os.WriteFile(file, []byte(debian), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := readFlavour(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		user string
		want map[string]any
	}{
		{`{}`, map[string]any{"containerd-snapshotter": true}},
		{`{"firewall-backend": "nftables", "features": {"cdi": true}}`, map[string]any{"containerd-snapshotter": true, "cdi": true}},
	} {
		s, err := Merge([]byte(tt.user), nil, nothingOnDisk)
		if err != nil {
			t.Fatal(err)
		}
		shipped := s.KnowsNFTables()
		s = f.of(s)
		if !shipped || s.KnowsNFTables() || s.NFTables() {
			t.Errorf("%s: knows of nftables: shipped engine %t, other %t; want true, false", tt.user, shipped, s.KnowsNFTables())
		}
		if diff := cmp.Diff(tt.want, s.values["features"]); diff != "" {
			t.Errorf("%s: features: %s", tt.user, diff)
		}
	}
}

func TestContainerdTOML(t *testing.T) {
	for _, tt := range []struct {
		flavour flavour
		want    []string
	}{
		{flavour{}, []string{"version = 4\n", `[plugins."io.containerd.server.v1.grpc"]`, `  "io.containerd.nri.v1.nri",`}},
		{flavour{Containerd: 2}, []string{"version = 2\n", "\n[grpc]\naddress = \"/run/user-docker/containerd.sock\"", "disabled_plugins = [\n  \"io.containerd.grpc.v1.cri\",\n]"}},
	} {
		text := containerdTOML("/data", tt.flavour)
		for _, want := range append(tt.want, `root = "/data/containerd"`, "sync_fs = true") {
			if !strings.Contains(text, want) {
				t.Errorf("%+v: no %q in\n%s", tt.flavour, want, text)
			}
		}
	}
}
