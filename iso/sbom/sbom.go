// Package sbom writes the bill of materials of the medium in SPDX 2.3: every
// Debian package and every Go module in it, with version and licence. It says
// what the packages declare; it judges nothing.
package sbom

import (
	"embed"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/bulkhead-os/bulkhead/iso/fingerprint"
)

// NoAssertion is SPDX's word for not known.
const NoAssertion = "NOASSERTION"

// A Component is one package or module.
type Component struct {
	Name, Version string
	// PURL is the package URL (github.com/package-url/purl-spec).
	PURL string
	// License is an SPDX expression; empty means NoAssertion.
	License string
	// SHA256 of the package file, hex; may be empty.
	SHA256 string
	// Comment says how it gets into the medium.
	Comment string
}

// A Document is the whole bill.
type Document struct {
	// Name and Version of the product.
	Name, Version string
	// Namespace is an address that no other document has.
	Namespace string
	// Epoch is the document's date, in seconds.
	Epoch      int64
	Components []Component
}

// licenseRef finds the licences of an expression that are not on SPDX's list.
var licenseRef = regexp.MustCompile(`LicenseRef-[A-Za-z0-9.-]+`)

// Write writes the document as JSON. The same components give the same bytes.
func Write(w io.Writer, d Document) error {
	doc := &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName: d.Name + "-" + d.Version, DocumentNamespace: d.Namespace,
		CreationInfo: &v2_3.CreationInfo{
			Created:  time.Unix(d.Epoch, 0).UTC().Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "mkos-" + d.Version}},
		},
	}
	root := &v2_3.Package{
		PackageName: d.Name, PackageVersion: d.Version, PackageSPDXIdentifier: "OS",
		PackageDownloadLocation: NoAssertion, PackageLicenseConcluded: NoAssertion,
		PackageLicenseDeclared: "Apache-2.0", PackageCopyrightText: NoAssertion,
		PrimaryPackagePurpose: "OPERATING-SYSTEM",
	}
	doc.Packages = append(doc.Packages, root)
	relate(doc, "DOCUMENT", common.TypeRelationshipDescribe, "OS")

	components := slices.Clone(d.Components)
	slices.SortFunc(components, func(a, b Component) int { return strings.Compare(a.PURL, b.PURL) })
	refs := make(map[string]bool)
	for i, c := range components {
		license := c.License
		if license == "" {
			license = NoAssertion
		}
		for _, ref := range licenseRef.FindAllString(license, -1) {
			refs[ref] = true
		}
		id := common.ElementID(fmt.Sprintf("C%d", i+1))
		p := &v2_3.Package{
			PackageName: c.Name, PackageVersion: c.Version, PackageSPDXIdentifier: id,
			PackageDownloadLocation: NoAssertion, PackageLicenseConcluded: NoAssertion,
			PackageLicenseDeclared: license, PackageCopyrightText: NoAssertion, PackageComment: c.Comment,
			PackageExternalReferences: []*v2_3.PackageExternalReference{{
				Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: c.PURL,
			}},
		}
		if c.SHA256 != "" {
			p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: c.SHA256}}
		}
		doc.Packages = append(doc.Packages, p)
		relate(doc, "OS", common.TypeRelationshipContains, id)
	}
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		name := strings.TrimPrefix(ref, "LicenseRef-")
		doc.OtherLicenses = append(doc.OtherLicenses, &v2_3.OtherLicense{
			LicenseIdentifier: ref, LicenseName: name,
			ExtractedText: "The text called " + name + " in the copyright file of the packages that refer to it.",
		})
	}
	return json.Write(doc, w, json.Indent("  "))
}

func relate(doc *v2_3.Document, a common.ElementID, kind string, b common.ElementID) {
	doc.Relationships = append(doc.Relationships, &v2_3.Relationship{
		RefA: common.DocElementID{ElementRefID: a}, RefB: common.DocElementID{ElementRefID: b}, Relationship: kind,
	})
}

// self is what decides on the licences that are read.
//
//go:embed *.go
var self embed.FS

// Fingerprint changes with the code that reads licences.
func Fingerprint() (string, error) { return fingerprint.Of(self) }
