package rootfs

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/bulkhead-os/bulkhead/iso/tools"
	"github.com/bulkhead-os/bulkhead/iso/tree"
)

// A fixed identity: the image is found by the medium's label, never by this.
const uuid = "b01d4ead-0000-4000-8000-000000000001"

// A Compression is one way to make the image small. docs/adr/003 has the
// figures.
type Compression struct {
	// Name tells it from the others, in names of files.
	Name string
	// Modules are the options of mkfs.erofs for the image of kernel modules
	// inside the root image.
	Modules []string
	// compressors are mkfs.erofs's, options its further ones. hints choose a
	// compressor, by number, and a cluster size per file.
	compressors, hints string
	options            []string
}

//go:embed small.hints
var smallHints string

//go:embed fast.hints
var fastHints string

// Small is for what is released. No -Efragments: with a tar as its source,
// mkfs.erofs 1.8.6 then writes zeros for small files. No clusters of 1 MiB:
// it crashes.
func Small() Compression {
	return Compression{
		Name: "small",
		// One stream of LZMA for all of them is a fifth smaller than the single
		// .ko.xz, which have much in common.
		Modules:     []string{"-zlzma,level=6", "-C1048576", "-Eall-fragments,ztailpacking"},
		compressors: "zstd,level=17:lzma,level=6", hints: smallHints,
		options: []string{"-C65536", "-Eztailpacking"},
	}
}

// Fast is for trying a change: half again as large, made in seconds.
func Fast() Compression {
	return Compression{
		Name:        "fast",
		Modules:     []string{"-zzstd,level=3", "-C65536"},
		compressors: "lz4", hints: fastHints,
		options: []string{"-C65536"},
	}
}

// hintList is what mkfs.erofs gets: the hints without comments.
func (c Compression) hintList() string {
	var list strings.Builder
	for line := range strings.Lines(c.hints) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			fmt.Fprintln(&list, line)
		}
	}
	return list.String()
}

// mkfs turns the tar into an EROFS image.
func (c Compression) mkfs(ctx context.Context, ts *tools.Tools, file, archive string) error {
	hintFile := file + ".hints"
	if err := os.WriteFile(hintFile, []byte(c.hintList()), 0o644); err != nil {
		return err
	}
	defer os.Remove(hintFile)
	args := append(c.args(), "--compress-hints="+hintFile, file, archive)
	if err := ts.Run(ctx, "mkfs.erofs", args...); err != nil {
		return fmt.Errorf("make EROFS: %w", err)
	}
	return nil
}

// args are the settings that decide on the image's bytes.
func (c Compression) args() []string {
	return append(c.options,
		"--quiet", "--tar=f", "-z"+c.compressors, "-x-1", "-U"+uuid,
		"-T"+strconv.FormatInt(tree.Epoch.Unix(), 10), "--all-time",
		// The number of threads decides how large files are cut into pieces.
		"--workers=2",
	)
}
