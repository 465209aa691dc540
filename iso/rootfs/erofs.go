package rootfs

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strconv"

	"github.com/bulkhead-os/bulkhead/iso/tools"
	"github.com/bulkhead-os/bulkhead/iso/tree"
)

// A fixed identity: the image is found by the medium's label, never by this.
const uuid = "b01d4ead-0000-4000-8000-000000000001"

// compressors are mkfs.erofs's; hints chooses between them by number.
const compressors = "zstd,level=3:lz4hc,level=9"

// hints say which files get which compressor and cluster size.
//
//go:embed compress.hints
var hints string

// mkfs turns the tar into an EROFS image.
func mkfs(ctx context.Context, ts *tools.Tools, file, archive string) error {
	hintFile := file + ".hints"
	if err := os.WriteFile(hintFile, []byte(hints), 0o644); err != nil {
		return err
	}
	defer os.Remove(hintFile)
	args := append(mkfsArgs(), "--compress-hints="+hintFile, file, archive)
	if err := ts.Run(ctx, "mkfs.erofs", args...); err != nil {
		return fmt.Errorf("make EROFS: %w", err)
	}
	return nil
}

// mkfsArgs are the settings that decide on the image's bytes.
func mkfsArgs() []string {
	return []string{
		"--quiet", "--tar=f", "-z" + compressors, "-C65536", "-x-1", "-U" + uuid,
		"-T" + strconv.FormatInt(tree.Epoch.Unix(), 10), "--all-time",
		// The number of threads decides how large files are cut into pieces.
		"--workers=2",
	}
}
