package netdata

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

var update = flag.Bool("update", false, "write the expected files anew")

// readers are the forms, by the extension of the files in testdata.
var readers = map[string]func([]byte) (Network, error){
	".json": OpenStack,
	".yaml": CloudInit,
	".eni":  Interfaces,
}

// TestConvert compares what becomes of each file in testdata, and what could
// not be taken over, with the file of the same name that ends in .want.
func TestConvert(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata: %v", err)
	}
	for _, path := range files {
		read, ok := readers[filepath.Ext(path)]
		if !ok {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			network, problems := read(text)
			config, err := network.CloudConfig()
			if err != nil {
				t.Fatal(err)
			}
			// Whatever comes out is valid configuration.
			for _, p := range new(osconfig.Config).Merge(path, config) {
				if p.Severity == osconfig.Error {
					t.Error(p)
				}
			}
			got := string(config)
			if problems != nil {
				got += "# " + strings.ReplaceAll(problems.Error(), "\n", "\n# ") + "\n"
			}
			if *update {
				if err := os.WriteFile(path+".want", []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path + ".want")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParsePrefix(t *testing.T) {
	tests := []struct{ address, mask, want string }{
		{"192.0.2.1/24", "", "192.0.2.1/24"},
		{"192.0.2.1/24", "255.0.0.0", "192.0.2.1/24"},
		{"192.0.2.1", "255.255.255.0", "192.0.2.1/24"},
		{"192.0.2.1", "24", "192.0.2.1/24"},
		{"192.0.2.1", "/24", "192.0.2.1/24"},
		{" 192.0.2.1 ", " 24 ", "192.0.2.1/24"},
		{"0.0.0.0", "0.0.0.0", "0.0.0.0/0"},
		{"2001:db8::1", "ffff:ffff:ffff:ffff::", "2001:db8::1/64"},
		{"2001:DB8::1", "64", "2001:db8::1/64"},
		{"::", "::", "::/0"},
		{"192.0.2.1", "", ""},
		{"192.0.2.1", "33", ""},
		{"192.0.2.1", "255.0.255.0", ""},
		{"192.0.2.1", "ffff::", ""},
		{"", "24", ""},
		{"eth0", "24", ""},
	}
	for _, tt := range tests {
		got, err := parsePrefix(tt.address, tt.mask)
		if (err != nil) != (tt.want == "") || err == nil && got.String() != tt.want {
			t.Errorf("parsePrefix(%q, %q) = %v, %v; want %q", tt.address, tt.mask, got, err, tt.want)
		}
	}
}

func FuzzConvert(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for form, read := range readers {
			network, _ := read(text)
			if _, err := network.CloudConfig(); err != nil {
				t.Errorf("%s: %v", form, err)
			}
		}
	})
}
