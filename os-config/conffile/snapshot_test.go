package conffile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestSnapshotMeansTheSame(t *testing.T) {
	root, dir := t.TempDir(), filepath.Join(t.TempDir(), "snapshot")
	put := func(file, text string) {
		t.Helper()
		if err := Write(filepath.Join(root, file), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	put(layout.OEMConfig, "timezone: Europe/Berlin\n")
	put(layout.UserData, "hostname: a\nmystery: 1\n")
	put(layout.CloudConfigDir+"/zz.yml", "a: [")
	put(osconfig.GoodCopy(layout.CloudConfigDir+"/zz.yml"), "runcmd: [b]\n")
	put(layout.Metadata, `{"hostname": "m", "public_keys": []}`)
	for _, text := range []string{"rancher: {password: one}\n", "rancher: {password: two, sysctl: {a.b: 1}}\n"} {
		put(layout.CloudConfig, text)
		if err := Snapshot(root, dir); err != nil {
			t.Fatal(err)
		}
		want, problems, err := osconfig.Load(root, "quiet")
		if err != nil {
			t.Fatal(err)
		}
		got, again, err := osconfig.Load(dir, "quiet")
		if err != nil {
			t.Fatal(err)
		}
		if keys := osconfig.Changed(want, got); keys != nil {
			t.Errorf("the snapshot differs in %v", keys)
		}
		if diff := cmp.Diff(problems, again); diff != "" {
			t.Errorf("problems of the snapshot (-want +got):\n%s", diff)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has permissions %v; want none for others", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(dir + ".*"); left != nil {
		t.Errorf("left over: %v", left)
	}
}
