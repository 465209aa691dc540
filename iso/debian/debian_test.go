package debian

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseTargets(t *testing.T) {
	const out = "Debian\tDebian\thttp://a/debian\n" +
		"Debian\tDebian\thttp://b/debian\n" +
		"Debian Backports\tDebian Backports\thttp://a/backports\n" +
		"Other\tDebian\thttp://c\n" +
		"Debian\tDebian-Security\thttp://a/security\n"
	want := Mirrors{Main: "http://a/debian", Security: "http://a/security"}
	if got := parseTargets(out); got != want {
		t.Errorf("parseTargets = %+v; want %+v", got, want)
	}
	if got := parseTargets("Ubuntu\tUbuntu\thttp://u\n"); got != (Mirrors{}) {
		t.Errorf("parseTargets of Ubuntu = %+v; want none", got)
	}
}

func TestFindMirrorsFromEnvironment(t *testing.T) {
	env := map[string]string{MirrorVar: "http://m", SecurityMirrorVar: "http://s"}
	got, err := FindMirrors(t.Context(), func(k string) string { return env[k] })
	if want := (Mirrors{Main: "http://m", Security: "http://s"}); err != nil || got != want {
		t.Errorf("FindMirrors = %+v, %v; want %+v", got, err, want)
	}
}

func TestParseURIs(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	got, err := parseURIs("'http://m/z/zlib1g_1%3a1.3_amd64.deb' zlib1g_1%3a1.3_amd64.deb 88720 SHA256:" + sum + "\n" +
		"'http://m/a/a_1_all.deb' a_1_all.deb 1 SHA256:" + sum + "\n")
	want := []Package{
		{Name: "a", Version: "1", Arch: "all", URI: "http://m/a/a_1_all.deb", Size: 1, SHA256: sum},
		{Name: "zlib1g", Version: "1:1.3", Arch: "amd64", URI: "http://m/z/zlib1g_1%3a1.3_amd64.deb", Size: 88720, SHA256: sum},
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{
		"'u' a_1_all.deb 1 \n", "'u' a_1_all.deb 1 MD5Sum:ab\n", "'u' a.deb 1 SHA256:" + sum + "\n",
	} {
		if _, err := parseURIs(bad); err == nil {
			t.Errorf("parseURIs(%q) is no error", bad)
		}
	}
}

func TestStatus(t *testing.T) {
	got := status("# comment\ndebconf debconf-2.0\n")
	for _, want := range []string{"Package: debconf\n", "Status: install ok installed\n", "Provides: debconf-2.0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("status lacks %q:\n%s", want, got)
		}
	}
}
