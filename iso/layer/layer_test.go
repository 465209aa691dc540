package layer

import (
	"archive/tar"
	"strings"
	"testing"

	"github.com/bulkhead-os/bulkhead/images"
)

func TestExcluded(t *testing.T) {
	patterns := []string{"/usr/share/doc/", "/usr/lib/libss.so*", "/usr/sbin/debugfs"}
	for _, tt := range []struct {
		name string
		dir  bool
		want bool
	}{
		{"/usr/share/doc", true, true},
		{"/usr/share/doc/a/copyright", false, true},
		{"/usr/share/docs", true, false},
		{"/usr/share/doc", false, false},
		{"/usr/lib/libss.so.2", false, true},
		{"/usr/sbin/debugfs", false, true},
		{"/usr/sbin/debugfsx", false, false},
	} {
		if got := excluded(patterns, tt.name, tt.dir); got != tt.want {
			t.Errorf("excluded(%q, dir %v) = %v; want %v", tt.name, tt.dir, got, tt.want)
		}
	}
}

func TestMove(t *testing.T) {
	prefixes := map[string]string{"/usr/lib/kbuild-": "/usr/src/kbuild-"}
	for _, tt := range []struct{ name, link, movedName, movedLink string }{
		{"./usr/lib/kbuild-6/scripts/mod", "", "/usr/src/kbuild-6/scripts/mod", ""},
		{"./lib/kbuild-6/Makefile", "", "/usr/src/kbuild-6/Makefile", ""},
		{"./usr/lib/other", "", "./usr/lib/other", ""},
		{"./usr/src/headers-6/scripts", "../../lib/kbuild-6/scripts", "./usr/src/headers-6/scripts", "/usr/src/kbuild-6/scripts"},
		{"./usr/src/headers-6/tools", "/usr/lib/kbuild-6/tools", "./usr/src/headers-6/tools", "/usr/src/kbuild-6/tools"},
		{"./usr/src/headers-6/same.h", "other.h", "./usr/src/headers-6/same.h", "other.h"},
	} {
		h := &tar.Header{Name: tt.name, Linkname: tt.link, Typeflag: tar.TypeReg}
		if tt.link != "" {
			h.Typeflag = tar.TypeSymlink
		}
		if got := move(prefixes, h); got.Name != tt.movedName || got.Linkname != tt.movedLink {
			t.Errorf("move(%s -> %q) = %s -> %q; want %s -> %q", tt.name, tt.link, got.Name, got.Linkname, tt.movedName, tt.movedLink)
		}
	}
}

func TestMakeAccounts(t *testing.T) {
	a, err := MakeAccounts([]images.User{
		{Name: "rancher", ID: 1100, Home: "/home/rancher", Shell: "/bin/bash", Groups: []string{"docker", "sudo"}},
		{Name: "sshd", ID: 110},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ name, text, line string }{
		{"passwd", a.Passwd, "root:x:0:0:root:/root:/bin/bash\n"},
		{"passwd", a.Passwd, "rancher:x:1100:1100::/home/rancher:/bin/bash\n"},
		{"passwd", a.Passwd, "sshd:x:110:110::/nonexistent:/usr/sbin/nologin\n"},
		{"group", a.Group, "docker:x:999:rancher\n"},
		{"group", a.Group, "sudo:x:27:rancher\n"},
		{"shadow", a.Shadow, "rancher:*:20309:0:99999:7:::\n"},
		{"gshadow", a.Gshadow, "docker:*::rancher\n"},
	} {
		if !strings.Contains(want.text, want.line) {
			t.Errorf("%s lacks %q", want.name, want.line)
		}
	}
}

func TestMakeAccountsMistakes(t *testing.T) {
	for _, tt := range []struct {
		user images.User
		want string
	}{
		{images.User{Name: "a", ID: 200, Groups: []string{"none"}}, "no group none"},
		{images.User{Name: "a", ID: 999}, "id 999 is there twice"},
		{images.User{Name: "docker", ID: 200}, "there is the group docker"},
		{images.User{Name: "mail", ID: 8}, "mail is there twice"},
	} {
		if _, err := MakeAccounts([]images.User{tt.user}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("MakeAccounts(%+v) = %v; want %q", tt.user, err, tt.want)
		}
	}
}
