package partition

import "testing"

func TestPath(t *testing.T) {
	for disk, want := range map[string]string{
		"/dev/sda": "/dev/sda1", "/dev/nvme0n1": "/dev/nvme0n1p1", "/dev/mmcblk0": "/dev/mmcblk0p1",
		"/dev/disk/by-id/virtio-x": "/dev/disk/by-id/virtio-x-part1",
		"/dev/disk/by-id/nvme-1":   "/dev/disk/by-id/nvme-1-part1",
	} {
		if got := Path(disk, "1"); got != want {
			t.Errorf("Path(%s) = %s; want %s", disk, got, want)
		}
	}
}
