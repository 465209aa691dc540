package sbom

import (
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// GoComponents lists the modules that are linked into the binaries, read from
// the binaries themselves, and the standard library. The module cache, which
// the build just used, has their licences.
func GoComponents(binaries []string, modCache, self string) ([]Component, error) {
	used := make(map[module.Version][]string)
	for _, file := range binaries {
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		add := func(path, version string) {
			m := module.Version{Path: path, Version: version}
			used[m] = append(used[m], filepath.Base(file))
		}
		add("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
		for _, m := range append(info.Deps, &info.Main) {
			if m.Replace != nil {
				m = m.Replace
			}
			if m.Path != self {
				add(m.Path, m.Version)
			}
		}
	}
	var out []Component
	for _, m := range slices.SortedFunc(maps.Keys(used), func(a, b module.Version) int {
		return strings.Compare(a.String(), b.String())
	}) {
		license := "BSD-3-Clause" // Go's own
		if m.Path != "stdlib" {
			var err error
			if license, err = moduleLicense(modCache, m); err != nil {
				return nil, err
			}
		}
		slices.Sort(used[m])
		out = append(out, Component{
			Name: m.Path, Version: m.Version, License: license, PURL: "pkg:golang/" + m.Path + "@" + m.Version,
			Comment: "linked into " + strings.Join(slices.Compact(used[m]), ", "),
		})
	}
	return out, nil
}

// licenseFile matches the names that modules give to their licence.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([-._].*)?$`)

// moduleLicense reads the licence files at the top of a module. A module
// without any is part of a repository that has them further up.
func moduleLicense(modCache string, m module.Version) (string, error) {
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(modCache, filepath.FromSlash(escaped)+"@"+version)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("licence of %s: %w", m, err)
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() || !licenseFile.MatchString(e.Name()) {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		for _, id := range Classify(string(raw)) {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, " AND "), nil
}

// signatures are phrases, in lower case with single spaces, of which all must
// be in the text of a licence and none of the others.
var signatures = []struct {
	id       string
	has, not []string
}{
	{"Apache-2.0", []string{"apache license", "version 2.0"}, nil},
	{"MPL-2.0", []string{"mozilla public license", "version 2.0", "covered software"}, nil},
	{"AGPL-3.0-only", []string{"gnu affero general public license", "version 3, 19 november 2007"}, nil},
	{"LGPL-3.0-only", []string{"gnu lesser general public license", "version 3, 29 june 2007"}, nil},
	{"GPL-3.0-only", []string{"gnu general public license", "version 3, 29 june 2007"}, []string{"gnu lesser general public license version 3"}},
	{"GPL-2.0-only", []string{"gnu general public license", "version 2, june 1991"}, nil},
	{"BSD-3-Clause", []string{"redistribution and use in source and binary forms", "endorse or promote products"}, []string{"all advertising materials"}},
	{"BSD-4-Clause", []string{"redistribution and use in source and binary forms", "all advertising materials"}, nil},
	{"BSD-2-Clause", []string{"redistribution and use in source and binary forms"}, []string{"endorse or promote products"}},
	{"MIT", []string{"permission is hereby granted, free of charge, to any person obtaining a copy"}, nil},
	{"ISC", []string{"permission to use, copy, modify, and", "distribute this software for any purpose with or without fee"}, nil},
	{"Unlicense", []string{"this is free and unencumbered software released into the public domain"}, nil},
	{"CC0-1.0", []string{"cc0 1.0 universal"}, nil},
	{"Zlib", []string{"altered source versions must be plainly marked as such"}, nil},
}

// Classify returns the SPDX names of the licences in a text.
func Classify(text string) []string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	var ids []string
	for _, s := range signatures {
		fits := true
		for _, p := range s.has {
			fits = fits && strings.Contains(text, p)
		}
		for _, p := range s.not {
			fits = fits && !strings.Contains(text, p)
		}
		if fits {
			ids = append(ids, s.id)
		}
	}
	return ids
}
