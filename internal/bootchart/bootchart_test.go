package bootchart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
)

var update = flag.Bool("update", false, "write the golden file anew")

func TestDraw(t *testing.T) {
	report := bootlog.Report{
		Version: "1.0", Kernel: "6.12", SystemDocker: 3.5, UserDocker: 9.25, Ready: 9.75,
		Steps: []bootlog.Step{
			{Name: "init/mount-root", Start: 0.9, End: 1.1},
			{Name: "services/docker", Start: 3.6, End: 9.25},
			{Name: "system-docker/api", Start: 1.5, End: 3.5},
			{Name: "services/ntp", Start: 4, End: 9, Error: `no "pool" & <no> clock`},
		},
	}
	var got bytes.Buffer
	if err := Draw(&got, report); err != nil {
		t.Fatal(err)
	}
	for dec := xml.NewDecoder(bytes.NewReader(got.Bytes())); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	const golden = "testdata/boot.svg"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("picture differs; run with -update if that is meant:\n%s", diff)
	}
}

func TestDrawNothing(t *testing.T) {
	if err := Draw(io.Discard, bootlog.Report{}); err != nil {
		t.Error(err)
	}
}
