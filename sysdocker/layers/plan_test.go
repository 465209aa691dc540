package layers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
)

var (
	hexA = strings.Repeat("a", 64)
	hexB = strings.Repeat("b", 64)
)

func TestChainSharesLowerLayers(t *testing.T) {
	idx := images.Index{Images: []images.IndexEntry{
		{Name: "one", DiffIDs: []string{"sha256:" + hexA}},
		{Name: "two", DiffIDs: []string{"sha256:" + hexA, "sha256:" + hexB}},
	}}
	got, err := chain(idx)
	if err != nil {
		t.Fatal(err)
	}
	// The chain ID of a layer on another is the SHA-256 of "sha256:<a> sha256:<b>".
	const ab = "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
	want := []link{
		{name: "sha256:" + hexA, layer: hexA},
		{name: ab, parent: "sha256:" + hexA, layer: hexB},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(link{})); diff != "" {
		t.Error(diff)
	}
}

func TestChainRefusesBadDigest(t *testing.T) {
	idx := images.Index{Images: []images.IndexEntry{{Name: "one", DiffIDs: []string{"../../etc"}}}}
	if got, err := chain(idx); err == nil {
		t.Errorf("chain() = %v; want an error", got)
	}
}

func TestPlan(t *testing.T) {
	wanted := []link{{name: "A", layer: hexA}, {name: "AB", parent: "A", layer: hexB}}
	good := func(hex string) snapshot {
		return snapshot{committed: true, pinned: true, layer: hex, content: isLink, target: hex}
	}
	with := func(sn snapshot, change func(*snapshot)) snapshot { change(&sn); return sn }
	tests := []struct {
		name string
		have map[string]snapshot
		want []string
	}{
		{"nothing there", nil, []string{"make snapshot A", "make snapshot AB"}},
		{"all well", map[string]snapshot{"A": good(hexA), "AB": good(hexB), "container": {}}, nil},
		{"dangling", map[string]snapshot{"A": with(good(hexA), func(s *snapshot) { s.content = isBroken; s.target = "" }), "AB": good(hexB)},
			[]string{"relink snapshot A"}},
		{"wrong layer", map[string]snapshot{"A": good(hexB), "AB": good(hexB)}, []string{"relink snapshot A"}},
		{"files written over our link", map[string]snapshot{"A": with(good(hexA), func(s *snapshot) { s.content = isUnpacked }), "AB": good(hexB)},
			[]string{"relink snapshot A"}},
		{"unpacked by someone else", map[string]snapshot{"A": {committed: true, content: isUnpacked}, "AB": good(hexB)}, nil},
		{"unpacked but empty", map[string]snapshot{"A": {committed: true}, "AB": good(hexB)}, []string{"relink snapshot A"}},
		{"unpinned", map[string]snapshot{"A": with(good(hexA), func(s *snapshot) { s.pinned = false }), "AB": good(hexB)},
			[]string{"pin snapshot A"}},
		{"older OS", map[string]snapshot{"A": good(hexA), "AB": good(hexB), "AC": good(hexB), "old": with(good(hexA), func(s *snapshot) { s.pinned = false })},
			[]string{"release snapshot AC"}},
		{"half-made", map[string]snapshot{"A": good(hexA), "AB": good(hexB), "bulkhead-old-1": {}, "bulkhead-now-2": {}},
			[]string{"discard snapshot bulkhead-old-1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, a := range plan(wanted, tt.have, "bulkhead-now-") {
				got = append(got, a.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
