package e2e

import (
	"testing"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// Every way in: two firmwares, three media, four kinds of configuration disk.
func TestBootMatrix(t *testing.T) {
	tests := []struct {
		name    string
		options qemutest.Options
		kind    qemutest.SeedKind
		format  qemutest.SeedFormat
	}{
		{"SeaBIOS CD with config-2 iso9660", qemutest.Options{Medium: qemutest.CD}, qemutest.Config2, qemutest.ISO9660},
		{"OVMF CD with cidata iso9660", qemutest.Options{Medium: qemutest.CD, UEFI: true}, qemutest.NoCloud, qemutest.ISO9660},
		{"USB stick with config-2 vfat", qemutest.Options{Medium: qemutest.USB}, qemutest.Config2, qemutest.VFAT},
		{"PXE files with cidata vfat", qemutest.Options{Medium: qemutest.Kernel, Append: "console=tty0 console=ttyS0"}, qemutest.NoCloud, qemutest.VFAT},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.options.Medium == qemutest.Kernel {
				tt.options.Kernel, tt.options.Initrd = artifact(t, "vmlinuz"), artifact(t, "initrd")
			} else {
				tt.options.ISO = artifact(t, isoName)
			}
			seed, err := writeSeed(t.TempDir(), tt.kind, tt.format)
			if err != nil {
				t.Fatal(err)
			}
			g := start(t, tt.options, seed)
			if got := g.sh(t, "hostname"); got != "ship" {
				t.Errorf("hostname = %q; want ship, from the configuration disk", got)
			}
			if got := g.sh(t, "docker version --format '{{.Server.Version}}'"); got == "" {
				t.Error("docker version names no server")
			}
		})
	}
}
