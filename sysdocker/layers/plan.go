package layers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/bulkhead-os/bulkhead/images"
)

// A link is one snapshot that an image needs: a layer on top of its parent.
type link struct {
	name   string // chain ID
	parent string // chain ID of the layers below, or empty
	layer  string // hex diff ID
}

// chain returns the snapshots that the images need, each once and parents
// before children.
func chain(idx images.Index) ([]link, error) {
	var links []link
	seen := make(map[string]bool)
	for _, img := range idx.Images {
		var diffIDs []digest.Digest
		parent := ""
		for _, text := range img.DiffIDs {
			id, err := digest.Parse(text)
			if err != nil {
				return nil, fmt.Errorf("image %s: layer %q: %w", img.Name, text, err)
			}
			diffIDs = append(diffIDs, id)
			name := identity.ChainID(diffIDs).String()
			if !seen[name] {
				seen[name] = true
				links = append(links, link{name: name, parent: parent, layer: id.Encoded()})
			}
			parent = name
		}
	}
	return links, nil
}

// content is what a committed snapshot's directory turned out to be.
type content int

const (
	isBroken   content = iota // missing, empty, or a link that leads nowhere
	isLink                    // a link to a layer of the OS image
	isUnpacked                // a directory with files, as containerd unpacks it
)

// A snapshot is one that containerd has.
type snapshot struct {
	committed bool
	pinned    bool   // kept from garbage collection
	layer     string // set when it was made by Register
	dir       string
	content   content
	target    string // of a link: the layer
}

// A Verb is a kind of Action.
type Verb string

// What Register does to a snapshot.
const (
	Make    Verb = "make"    // it is missing
	Relink  Verb = "relink"  // its directory is not what it should be
	Pin     Verb = "pin"     // it could be garbage-collected
	Release Verb = "release" // no shipped image needs it any more
	Discard Verb = "discard" // an earlier boot left it half-made
)

// An Action is one change to a snapshot.
type Action struct {
	Verb  Verb
	Name  string // chain ID, or the key of a half-made snapshot
	Layer string // hex diff ID

	parent string
	dir    string
}

func (a Action) String() string { return fmt.Sprintf("%s snapshot %s", a.Verb, a.Name) }

// plan compares what the images need with what there is. Left-overs go first,
// because an unfinished snapshot keeps its parent from being removed.
//
// Unfinished snapshots whose names start with mine belong to this boot and may
// be in the making.
func plan(wanted []link, have map[string]snapshot, mine string) []Action {
	var actions []Action
	needed := make(map[string]bool)
	for _, l := range wanted {
		needed[l.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		sn := have[name]
		switch {
		case !sn.committed && strings.HasPrefix(name, unfinishedPrefix) && !strings.HasPrefix(name, mine):
			actions = append(actions, Action{Verb: Discard, Name: name, Layer: sn.layer})
		case sn.committed && sn.layer != "" && sn.pinned && !needed[name]:
			actions = append(actions, Action{Verb: Release, Name: name, Layer: sn.layer})
		}
	}
	for _, l := range wanted {
		sn, ok := have[l.name]
		switch {
		case !ok:
			actions = append(actions, Action{Verb: Make, Name: l.name, Layer: l.layer, parent: l.parent})
		case sn.content == isUnpacked && sn.layer == "":
			// Pulled or loaded by someone, with its own copy of the files. It
			// may be in use and is as good.
		case sn.content != isLink || sn.target != l.layer:
			actions = append(actions, Action{Verb: Relink, Name: l.name, Layer: l.layer, dir: sn.dir})
		case !sn.pinned || sn.layer != l.layer:
			actions = append(actions, Action{Verb: Pin, Name: l.name, Layer: l.layer})
		}
	}
	return actions
}
