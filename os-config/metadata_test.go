package osconfig

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a platform does not say must not come back as a mistake.
func TestMetadataRoundTrip(t *testing.T) {
	for _, m := range []Metadata{
		{},
		{Datasource: "cidata", InstanceID: "i-1"},
		{Datasource: "config-2", InstanceID: "i-2", Hostname: "web", PublicKeys: []string{"ssh-ed25519 AAAA a"}},
	} {
		text, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "metadata")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, problems, err := ReadMetadata(path)
		if err != nil || len(problems) > 0 {
			t.Errorf("ReadMetadata(%q): problems %v, error %v", text, problems, err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("ReadMetadata(%q) (-want +got):\n%s", text, diff)
		}
	}
}
