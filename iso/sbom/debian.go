package sbom

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"pault.ag/go/debian/control"

	"github.com/bulkhead-os/bulkhead/iso/debian"
)

// DebianComponent describes a package of Debian.
func DebianComponent(p debian.Package, license, comment string) Component {
	return Component{
		Name: p.Name, Version: p.Version, License: license, SHA256: p.SHA256, Comment: comment,
		PURL: "pkg:deb/debian/" + p.Name + "@" + url.QueryEscape(p.Version) + "?arch=" + p.Arch + "&distro=" + debian.Suite,
	}
}

// errFound ends a walk early.
var errFound = errors.New("found")

// DebianLicense reads the licences that the package file says it is under; ""
// when its copyright file is prose.
func DebianLicense(ctx context.Context, file, name string) (string, error) {
	var license string
	err := debian.Walk(ctx, file, func(h *tar.Header, r io.Reader) error {
		if path.Clean("/"+h.Name) != "/usr/share/doc/"+name+"/copyright" || h.Typeflag != tar.TypeReg {
			return nil
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		license = CopyrightLicense(string(raw))
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return license, err
}

// CopyrightLicense makes an expression of all licences in a machine-readable
// copyright file (DEP 5); "" when it is not one.
func CopyrightLicense(text string) string {
	if first, _, _ := strings.Cut(text, "\n\n"); !strings.Contains(first, "copyright-format") {
		return ""
	}
	r, err := control.NewParagraphReader(strings.NewReader(text), nil)
	if err != nil {
		return ""
	}
	var all []string
	for {
		p, err := r.Next()
		if err != nil {
			break
		}
		// Only paragraphs about files say what applies; others hold texts.
		if p.Values["Files"] == "" {
			continue
		}
		short, _, _ := strings.Cut(strings.TrimSpace(p.Values["License"]), "\n")
		parts := []string{dep5Expression(short)}
		if !strings.Contains(parts[0], " OR ") {
			parts = strings.Split(parts[0], " AND ")
		}
		for _, expr := range parts {
			if expr != "" && !slices.Contains(all, expr) {
				all = append(all, expr)
			}
		}
	}
	slices.Sort(all)
	for i, e := range all {
		if strings.Contains(e, " OR ") {
			all[i] = "(" + e + ")"
		}
	}
	return strings.Join(all, " AND ")
}

// dep5Names are DEP 5 short names that SPDX spells in another way.
var dep5Names = map[string]string{
	"expat": "MIT", "mit": "MIT", "x11": "X11", "mit/x11": "MIT",
	"apache-2.0": "Apache-2.0", "apache-2": "Apache-2.0", "artistic": "Artistic-1.0-Perl", "artistic-2.0": "Artistic-2.0",
	"bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause", "bsd-4-clause": "BSD-4-Clause",
	"cc0": "CC0-1.0", "cc0-1.0": "CC0-1.0", "isc": "ISC", "zlib": "Zlib", "mpl-2.0": "MPL-2.0", "mpl-1.1": "MPL-1.1",
	"psf-2": "PSF-2.0", "0bsd": "0BSD", "curl": "curl", "openssl": "OpenSSL", "unlicense": "Unlicense", "bsl-1.0": "BSL-1.0",
	"bsl-1": "BSL-1.0", "ofl-1.1": "OFL-1.1", "wtfpl": "WTFPL",
}

var (
	gnuName   = regexp.MustCompile(`^(A?GPL|LGPL|GFDL)-([0-9](?:\.[0-9])?)(\+?)$`)
	operators = regexp.MustCompile(`(?i)\s+(and/or|or|and)\s+`)
	notID     = regexp.MustCompile(`[^A-Za-z0-9.-]+`)
)

// dep5Expression turns "GPL-2+ or Artistic" into an SPDX expression.
func dep5Expression(short string) string {
	short = strings.ReplaceAll(strings.TrimSpace(short), ",", "")
	if short == "" {
		return ""
	}
	names := operators.Split(short, -1)
	joins := operators.FindAllStringSubmatch(short, -1)
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			op := " AND "
			if strings.EqualFold(joins[i-1][1], "or") {
				op = " OR "
			}
			b.WriteString(op)
		}
		b.WriteString(dep5Name(n))
	}
	return b.String()
}

func dep5Name(n string) string {
	n = strings.TrimSpace(n)
	if id, ok := dep5Names[strings.ToLower(n)]; ok {
		return id
	}
	if m := gnuName.FindStringSubmatch(n); m != nil {
		version := m[2]
		if !strings.Contains(version, ".") {
			version += ".0"
		}
		if m[3] == "+" {
			return m[1] + "-" + version + "-or-later"
		}
		return m[1] + "-" + version + "-only"
	}
	// "GPL-2+ with OpenSSL exception", "public-domain", …
	return "LicenseRef-" + strings.Trim(notID.ReplaceAllString(strings.ReplaceAll(n, "+", "-or-later"), "-"), "-")
}
