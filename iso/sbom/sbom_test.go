package sbom

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCopyrightLicense(t *testing.T) {
	const dep5 = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: x

Files: *
Copyright: somebody
License: GPL-2+

Files: lib/*
Copyright: somebody
License: BSD-3-clause or Expat
 text

Files: debian/*
Copyright: somebody
License: GPL-2+

License: LGPL-2.1
 a text that no file is under
`
	for _, tt := range []struct{ name, text, want string }{
		{"machine-readable", dep5, "(BSD-3-Clause OR MIT) AND GPL-2.0-or-later"},
		{"prose", "This package is under the GPL.\n", ""},
	} {
		if got := CopyrightLicense(tt.text); got != tt.want {
			t.Errorf("%s: %q; want %q", tt.name, got, tt.want)
		}
	}
}

func TestDEP5Expression(t *testing.T) {
	for in, want := range map[string]string{
		"GPL-2":                         "GPL-2.0-only",
		"LGPL-2.1+":                     "LGPL-2.1-or-later",
		"GPL-2+ with OpenSSL exception": "LicenseRef-GPL-2-or-later-with-OpenSSL-exception",
		"public-domain":                 "LicenseRef-public-domain",
		"Artistic or GPL-1+":            "Artistic-1.0-Perl OR GPL-1.0-or-later",
	} {
		if got := dep5Expression(in); got != want {
			t.Errorf("dep5Expression(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestClassify(t *testing.T) {
	const bsd = "Redistribution and use in source and binary forms, with or\nwithout modification, "
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"MIT", "Permission is hereby granted, free of charge, to any person\n obtaining a copy", []string{"MIT"}},
		{"BSD-2", bsd, []string{"BSD-2-Clause"}},
		{"BSD-3", bsd + "names may not be used to endorse or promote products", []string{"BSD-3-Clause"}},
		{"Apache", "Apache License\n  Version 2.0, January 2004", []string{"Apache-2.0"}},
		{"unknown", "All rights reserved.", nil},
	} {
		if diff := cmp.Diff(tt.want, Classify(tt.text)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestWrite(t *testing.T) {
	doc := Document{Name: "os", Version: "v1", Namespace: "https://example.org/1", Epoch: 1000000000, Components: []Component{
		{Name: "b", Version: "2", PURL: "pkg:golang/b@2"},
		{Name: "a", Version: "1", PURL: "pkg:deb/debian/a@1", License: "LicenseRef-own", SHA256: "00"},
	}}
	var one, two bytes.Buffer
	if err := Write(&one, doc); err != nil {
		t.Fatal(err)
	}
	doc.Components[0], doc.Components[1] = doc.Components[1], doc.Components[0]
	if err := Write(&two, doc); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the order of components shows in the document")
	}
	var got struct {
		SPDXVersion   string
		Packages      []struct{ Name, LicenseDeclared string }
		Licenses      []struct{ LicenseID string } `json:"hasExtractedLicensingInfos"`
		Relationships []struct{ RelationshipType string }
	}
	if err := json.Unmarshal(one.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.SPDXVersion != "SPDX-2.3" || len(got.Packages) != 3 || len(got.Licenses) != 1 || len(got.Relationships) != 3 ||
		got.Packages[1].LicenseDeclared != "LicenseRef-own" || got.Packages[2].LicenseDeclared != NoAssertion {
		t.Errorf("document: %+v", got)
	}
}
