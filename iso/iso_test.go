package iso

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/iso/debian"
)

func TestSubtract(t *testing.T) {
	base := []debian.Package{{Name: "libc6", Version: "1"}, {Name: "bash", Version: "1"}}
	got, err := subtract("x", []debian.Package{{Name: "libc6", Version: "1"}, {Name: "curl", Version: "8"}}, base)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]debian.Package{{Name: "curl", Version: "8"}}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := subtract("x", []debian.Package{{Name: "libc6", Version: "2"}}, base); err == nil {
		t.Error("two versions of libc6 are no error")
	}
}

func TestRunReportsSteps(t *testing.T) {
	var out bytes.Buffer
	boom := errors.New("boom")
	var ran []string
	mark := func(name string, err error) step {
		return step{name, func(context.Context) error { ran = append(ran, name); return err }}
	}
	err := run(t.Context(), []step{mark("one", nil), mark("two", boom), mark("three", nil)}, newProgress(&out))
	if !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), "two: ") {
		t.Errorf("run = %v; want boom in step two", err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, ran); diff != "" {
		t.Error(diff)
	}
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "[ 2/3] two") || !strings.Contains(got, "FAILED") {
		t.Errorf("progress:\n%s", got)
	}
}

func TestDiffering(t *testing.T) {
	got := differing([]byte("aa  x.iso\nbb  vmlinuz\n"), []byte("ac  x.iso\nbb  vmlinuz\n"))
	if diff := cmp.Diff([]string{"x.iso"}, got); diff != "" {
		t.Error(diff)
	}
}
