package userdocker

import (
	"fmt"
	"strings"
)

// unusedPlugins of containerd cost time and memory, create directories in the
// user's /opt, or open listeners that nobody asked for.
var unusedPlugins = []string{
	"io.containerd.differ.v1.erofs",
	"io.containerd.image-verifier.v1.bindir",
	"io.containerd.internal.v1.opt",
	"io.containerd.internal.v1.tracing",
	"io.containerd.monitor.container.v1.restart", // restarting is the daemon's work
	"io.containerd.mount-handler.v1.erofs",
	"io.containerd.nri.v1.nri",
	"io.containerd.snapshotter.v1.blockfile",
	"io.containerd.snapshotter.v1.erofs",
	"io.containerd.tracing.processor.v1.otlp",
}

// containerdTOML returns containerd's configuration, for the shipped version or
// in the format of containerd 1.x.
//
// sync_fs: without it containerd syncs its database but not the layers it unpacks,
// and after a power cut a listed image can have empty files
// (github.com/moby/moby/issues/49784).
func containerdTOML(dataRoot string, f flavour) string {
	version, off := 4, unusedPlugins
	grpc, ttrpc := `plugins."io.containerd.server.v1.grpc"`, `plugins."io.containerd.server.v1.ttrpc"`
	if f.Containerd == 2 {
		version, off = 2, []string{"io.containerd.grpc.v1.cri"}
		grpc, ttrpc = "grpc", "ttrpc"
	}
	return fmt.Sprintf(`version = %d
root = %q
state = %q
imports = []
disabled_plugins = [
  "%s",
]

[debug]
level = "warn"

[%s]
address = %q

[%s]
address = %q

[plugins."io.containerd.service.v1.diff-service"]
sync_fs = true
`, version, containerdRoot(dataRoot), containerdState, strings.Join(off, "\",\n  \""),
		grpc, containerdSocket, ttrpc, containerdSocket+".ttrpc")
}

func containerdRoot(dataRoot string) string { return dataRoot + "/containerd" }

// containerdDatabase has containerd's containers.
func containerdDatabase(dataRoot string) string {
	return containerdRoot(dataRoot) + "/io.containerd.metadata.v1.bolt/meta.db"
}

// snapshotDatabase has its layers. If either is missing, the rest of containerd's
// root is useless.
func snapshotDatabase(dataRoot string) string {
	return containerdRoot(dataRoot) + "/io.containerd.snapshotter.v1.overlayfs/metadata.db"
}
