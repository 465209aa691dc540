package qemutest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestExt4CleanJudgesHeader(t *testing.T) {
	tests := []struct {
		name, header string
		clean        bool
	}{
		{"unmounted", "Filesystem features:      has_journal ext_attr\nFilesystem state:         clean\n", true},
		{"mounted, then cut off", "Filesystem features:      has_journal needs_recovery\nFilesystem state:         clean\n", false},
		{"with errors", "Filesystem features:      has_journal\nFilesystem state:         clean with errors\n", false},
		{"no header", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := ext4Clean(tt.header); (err == nil) != tt.clean {
				t.Errorf("ext4Clean = %v; want clean: %v", err, tt.clean)
			}
		})
	}
}

func TestMakeExt4IsClean(t *testing.T) {
	Need(t, "mkfs.ext4", "dumpe2fs")
	path := filepath.Join(t.TempDir(), "state.img")
	if err := MakeExt4(t.Context(), path, "RANCHER_STATE", 64, nil); err != nil {
		t.Fatal(err)
	}
	if err := Ext4Clean(t.Context(), path); err != nil {
		t.Error(err)
	}
}

func TestSeedsHoldUserDataAndKeys(t *testing.T) {
	Need(t, "xorriso", "mkfs.vfat", "mcopy", "mtype")
	for _, kind := range []SeedKind{Config2, NoCloud} {
		for _, format := range []SeedFormat{ISO9660, VFAT} {
			t.Run(string(kind)+"/"+string(format), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "seed.img")
				seed := Seed{Kind: kind, Format: format, UserData: "#cloud-config\nhostname: seedy\n", Hostname: "meta", Keys: []string{"ssh-ed25519 AAAA me"}}
				if err := seed.Write(t.Context(), path); err != nil {
					t.Fatal(err)
				}
				image, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for _, part := range []string{seed.UserData, seed.Keys[0], string(kind)} {
					if !bytes.Contains(image, []byte(part)) {
						t.Errorf("image does not contain %q", part)
					}
				}
			})
		}
	}
}

func TestWriteBusyboxIsARootFileSystem(t *testing.T) {
	NeedFile(t, busyboxPath)
	var archive bytes.Buffer
	if err := WriteBusybox(&archive, map[string]string{"hello": "#!/bin/sh\n"}); err != nil {
		t.Fatal(err)
	}
	list := exec.Command("tar", "-tf", "-")
	list.Stdin = &archive
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bin/busybox\n", "bin/sh\n", "etc/passwd\n", "tmp/\n", "hello\n"} {
		if !strings.Contains(string(out), name) {
			t.Errorf("no %q in the archive", name)
		}
	}
}
