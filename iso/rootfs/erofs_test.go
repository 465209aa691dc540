package rootfs

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// hintFor returns cluster size and compressor of a path, as mkfs.erofs finds
// them: the first line that fits.
func hintFor(t *testing.T, list, path string) string {
	t.Helper()
	for line := range strings.Lines(list) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(f) != 3 {
			t.Fatalf("hint %q has no three fields", line)
		}
		if bytes, err := strconv.Atoi(f[0]); err != nil || bytes%4096 != 0 || bytes > 512<<10 {
			t.Errorf("hint %q: want whole blocks up to 512 KiB", line)
		}
		re, err := regexp.CompilePOSIX(f[2])
		if err != nil {
			t.Fatalf("hint %q: %v", line, err)
		}
		if re.MatchString(path) {
			return f[0] + " " + f[1]
		}
	}
	return ""
}

func TestSmallHints(t *testing.T) {
	const (
		zstd, large, lzma, stored = "65536 0", "262144 0", "262144 1", "0 0"
		layer                     = "bulkhead/layers/0123abcd/"
	)
	list := Small().hintList()
	for path, want := range map[string]string{
		layer + "usr/bin/engine":                            large,
		layer + "usr/bin/docker-proxy":                      lzma,
		layer + "usr/bin/bash":                              zstd,
		layer + "usr/bin/vim.tiny":                          lzma,
		layer + "usr/sbin/sshd":                             zstd,
		layer + "usr/lib/x86_64-linux-gnu/libc.so.6":        "",
		layer + "usr/lib/x86_64-linux-gnu/libcurl.so.4.8.0": lzma,
		"bulkhead/modules/6.12.1/hot/net/bridge/bridge.ko":  "",
		"bulkhead/modules.erofs":                            stored,
		"bulkhead/images/console.tar":                       "",
	} {
		if got := hintFor(t, list, path); got != want {
			t.Errorf("%s: hint %q; want %q", path, got, want)
		}
	}
}
