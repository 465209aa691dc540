package qemutest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// SeedKind is the label, and with it the layout, of a configuration disk.
type SeedKind string

const (
	// Config2 is OpenStack's configuration drive.
	// https://docs.openstack.org/nova/latest/user/metadata.html
	Config2 SeedKind = "config-2"
	// NoCloud is cloud-init's own.
	// https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html
	NoCloud SeedKind = "cidata"
)

// SeedFormat is the file system of a configuration disk.
type SeedFormat string

// The formats in use: hypervisors make ISO 9660, people make FAT.
const (
	ISO9660 SeedFormat = "iso9660"
	VFAT    SeedFormat = "vfat"
)

// A Seed is the content of a configuration disk.
type Seed struct {
	Kind   SeedKind
	Format SeedFormat
	// UserData is the document the user gives: #cloud-config or a script.
	UserData string
	// Network, unless empty, is the network-config of a NoCloud disk.
	Network string
	// Hostname, unless empty, and Keys go into the metadata.
	Hostname string
	Keys     []string
}

// files returns the files of the disk by path.
func (s Seed) files() (map[string]string, error) {
	switch s.Kind {
	case Config2:
		keys := make(map[string]string, len(s.Keys))
		for i, key := range s.Keys {
			keys[fmt.Sprintf("key%d", i)] = key
		}
		meta, err := s.metadata(map[string]any{"uuid": "seed", "public_keys": keys}, "hostname")
		if err != nil {
			return nil, err
		}
		return map[string]string{
			"openstack/latest/meta_data.json": string(meta),
			"openstack/latest/user_data":      s.UserData,
		}, nil
	case NoCloud:
		// JSON is YAML, and quotes whatever is in a key's comment.
		meta, err := s.metadata(map[string]any{"instance-id": "seed", "public-keys": s.Keys}, "local-hostname")
		if err != nil {
			return nil, err
		}
		files := map[string]string{"meta-data": string(meta), "user-data": s.UserData}
		if s.Network != "" {
			files["network-config"] = s.Network
		}
		return files, nil
	}
	return nil, fmt.Errorf("seed kind %q: not known", s.Kind)
}

// metadata adds the host name, if there is one, under its key.
func (s Seed) metadata(fields map[string]any, hostname string) ([]byte, error) {
	if s.Hostname != "" {
		fields[hostname] = s.Hostname
	}
	return json.Marshal(fields)
}

// Write makes the disk image at path; a file that is there is replaced.
func (s Seed) Write(ctx context.Context, path string) error {
	files, err := s.files()
	if err != nil {
		return err
	}
	if s.Format == VFAT {
		return writeTree(path, files, func(tree string) error { return writeVFAT(ctx, path, string(s.Kind), tree) })
	}
	return WriteISO(ctx, path, string(s.Kind), files)
}

// WriteISO makes an ISO 9660 image of files, by path; one that is there is
// replaced.
func WriteISO(ctx context.Context, path, label string, files map[string]string) error {
	return writeTree(path, files, func(tree string) error {
		return run(ctx, "xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", label, "-o", path, tree)
	})
}

// writeTree lays files out in a directory for a program that makes the image
// at path, where none is then.
func writeTree(path string, files map[string]string, write func(tree string) error) error {
	return withTree(files, func(tree string) error {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return write(tree)
	})
}

// withTree lays files out in a directory that is there as long as use runs.
func withTree(files map[string]string, use func(tree string) error) error {
	tree, err := os.MkdirTemp("", "seed-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	for name, content := range files {
		file := filepath.Join(tree, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return use(tree)
}

// writeVFAT makes a FAT image with the content of a directory.
func writeVFAT(ctx context.Context, path, label, tree string) error {
	if err := MakeDisk(path, 4); err != nil {
		return err
	}
	if err := run(ctx, "mkfs.vfat", "-n", label, path); err != nil {
		return err
	}
	entries, err := os.ReadDir(tree)
	if err != nil {
		return err
	}
	args := []string{"-s", "-i", path}
	for _, e := range entries {
		args = append(args, filepath.Join(tree, e.Name()))
	}
	return run(ctx, "mcopy", append(args, "::/")...)
}
