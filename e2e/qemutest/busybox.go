package qemutest

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// busyboxPath is Debian's statically linked busybox (package busybox-static).
const busyboxPath = "/bin/busybox"

// WriteBusybox writes a root file system as a tar archive, fit for
// `docker import`: busybox, a link for each of its applets, the directories
// that programs expect, and the extra files (path → content).
func WriteBusybox(w io.Writer, extra map[string]string) error {
	binary, err := os.ReadFile(busyboxPath)
	if err != nil {
		return fmt.Errorf("busybox (Debian package busybox-static): %w", err)
	}
	applets, err := exec.Command(busyboxPath, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", busyboxPath, err)
	}
	t := tar.NewWriter(w)
	entry := func(h tar.Header, content string) {
		h.Size = int64(len(content))
		if err == nil {
			err = t.WriteHeader(&h)
		}
		if err == nil {
			_, err = io.WriteString(t, content)
		}
	}
	for _, dir := range []string{"bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "var"} {
		entry(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, "")
	}
	entry(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	entry(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, string(binary))
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			entry(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox"}, "")
		}
	}
	entry(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
	entry(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, "root:x:0:\nnobody:x:65534:\n")
	for name, content := range extra {
		entry(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755}, content)
	}
	if err != nil {
		return err
	}
	return t.Close()
}
