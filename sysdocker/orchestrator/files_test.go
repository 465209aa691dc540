package orchestrator

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

func TestPlaceFiles(t *testing.T) {
	services := []images.Declaration{
		{Name: "syslog", Service: images.Service{Volumes: []string{"/run/etc/hosts:/etc/hosts:ro", "/var/lib/x/rsyslog.d:/etc/rsyslog.d:ro"}}},
		{Name: "ntp"},
	}
	tests := []struct {
		name string
		file osconfig.File
		// host and bind, with VERSION for the hash in them; neither for none.
		want []string
		err  string
	}{
		{name: "the console's", file: osconfig.File{Path: "/etc/motd", Container: "console"}},
		{name: "in a directory of the host", file: osconfig.File{Path: "/opt/x", Container: "ntp"}},
		{name: "mounted", file: osconfig.File{Path: "/a/../b", Container: "ntp"},
			want: []string{"/run/bulkhead/files/ntp/VERSION", "/run/bulkhead/files/ntp/VERSION:/b:ro"}},
		{name: "in a volume", file: osconfig.File{Path: "/etc/rsyslog.d/a/b.conf", Container: "syslog"}, want: []string{"/var/lib/x/rsyslog.d/a/b.conf", ""}},
		{name: "beside a volume", file: osconfig.File{Path: "/etc/rsyslog.d2/b", Container: "syslog"},
			want: []string{"/run/bulkhead/files/syslog/VERSION", "/run/bulkhead/files/syslog/VERSION:/etc/rsyslog.d2/b:ro"}},
		{name: "a volume", file: osconfig.File{Path: "/etc/hosts", Container: "syslog"}, err: "the host keeps this file"},
		{name: "more text", file: osconfig.File{Path: "/b", Container: "ntp", Append: true}, err: "append: "},
		{name: "no such service", file: osconfig.File{Path: "/b", Container: "npt"}, err: "there is no service npt; want one of ntp, syslog"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host, bind, err := placeFile(tt.file, services)
			if (err != nil) != (tt.err != "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("error %v; want %q", err, tt.err)
			}
			var got []string
			if host != "" {
				got = []string{strings.ReplaceAll(host, digest(tt.file), "VERSION"), strings.ReplaceAll(bind, digest(tt.file), "VERSION")}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("host and bind (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDigest(t *testing.T) {
	file := osconfig.File{Path: "/a", Content: "x", Permissions: 0o644}
	seen := map[string]bool{digest(file): true}
	if !seen[digest(file)] {
		t.Error("one file has two digests")
	}
	for _, change := range []func(*osconfig.File){
		func(f *osconfig.File) { f.Path = "/b" },
		func(f *osconfig.File) { f.Content = "y" },
		func(f *osconfig.File) { f.Permissions = 0o600 },
		func(f *osconfig.File) { f.Owner = "1" },
	} {
		other := file
		change(&other)
		if d := digest(other); seen[d] {
			t.Errorf("%+v has the digest of another", other)
		}
		seen[digest(other)] = true
	}
}

func TestSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, service("ntp"), service("syslog"), service("udev"))
		b.ready("ntp", "syslog", "udev")
		b.engine.took()
		b.settings <- plan.Inputs{
			Binds: map[string][]string{"ntp": {"/a:/b:ro"}}, Versions: map[string]string{"ntp": "1"},
			Restart: []string{"ntp", "syslog"},
		}
		b.pass(time.Second)
		b.expectInAnyOrder("create ntp", "load ntp", "remove ntp", "start ntp", "start syslog", "stop ntp", "stop syslog")
		b.engine.die("ntp")
		b.pass(time.Second)
		b.expect("start ntp")
	})
}
