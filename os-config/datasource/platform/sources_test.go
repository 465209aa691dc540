package platform

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

var update = flag.Bool("update", false, "write the expected files anew")

// recorded serves the recorded answers of a platform: the files below a
// directory, "index" for a path that ends in a slash. hide is what is not
// there. Headers that a platform insists on are insisted on.
func recorded(dir string, hide ...string) http.HandlerFunc {
	need := map[string][2]string{
		"gce":    {"Metadata-Flavor", "Google"},
		"azure":  {"Metadata", "true"},
		"oracle": {"Authorization", "Bearer Oracle"},
		"vultr":  {"Metadata-Token", "cloudinit"},
	}[dir]
	return func(w http.ResponseWriter, r *http.Request) {
		isToken := strings.HasSuffix(r.URL.Path, "/api/token")
		switch {
		case isToken != (r.Method == http.MethodPut):
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		case need[0] != "" && r.Header.Get(need[0]) != need[1]:
			w.WriteHeader(http.StatusForbidden)
			return
		}
		name := r.URL.Path
		if strings.HasSuffix(name, "/") {
			name += "index"
		}
		for _, h := range hide {
			if strings.HasSuffix(name, h) {
				http.NotFound(w, r)
				return
			}
		}
		text, err := os.ReadFile(filepath.Join("testdata", dir, filepath.FromSlash(path.Clean(name))))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(text)
	}
}

// remoteKinds are the sources with a base address, and where each has its user
// data when that is a file of its own.
var remoteKinds = map[string]string{
	"ec2":          "/user-data",
	"aliyun":       "/user-data",
	"exoscale":     "/user-data",
	"cloudstack":   "/user-data",
	"openstack":    "/user_data",
	"nocloud":      "/user-data",
	"hetzner":      "/userdata",
	"scaleway":     "/user_data/cloud-init",
	"packet":       "/userdata",
	"gce":          "",
	"azure":        "",
	"digitalocean": "",
	"oracle":       "",
	"vultr":        "",
}

// remoteSource makes the source of a kind that asks base.
func remoteSource(t *testing.T, name, base string) Source {
	t.Helper()
	sources, err := New(name+":"+base, Machine{})
	if err != nil || len(sources) == 0 {
		t.Fatalf("New(%s) = %v, %v", name, sources, err)
	}
	s := sources[len(sources)-1] // Azure's disk comes first
	if !s.Network || s.Name != name {
		t.Fatalf("New(%s) = %v; want a source on the network", name, s)
	}
	return s
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// bounded is a context that ends before anyone loses patience.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// show writes a result down for comparison.
func show(res datasource.Result, err error) string {
	var b strings.Builder
	if text, merr := res.Metadata.Marshal(); merr == nil {
		b.Write(text)
	}
	network, nerr := res.Network.CloudConfig()
	for _, p := range new(osconfig.Config).Merge("network data", network) {
		if p.Severity == osconfig.Error {
			nerr = errors.Join(nerr, errors.New(p.String()))
		}
	}
	b.Write(network)
	fmt.Fprintf(&b, "--- user data\n%s--- vendor data\n%s", res.UserData, res.VendorData)
	if err = errors.Join(err, nerr); err != nil {
		fmt.Fprintf(&b, "--- problems\n%v\n", err)
	}
	return b.String()
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file+".want")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRemoteSources(t *testing.T) {
	for name, userData := range remoteKinds {
		t.Run(name, func(t *testing.T) {
			t.Run("recorded", func(t *testing.T) {
				compare(t, name, show(remoteSource(t, name, serve(t, recorded(name))).Fetch(bounded(t))))
			})
			if userData != "" {
				t.Run("no user data", func(t *testing.T) {
					res, err := remoteSource(t, name, serve(t, recorded(name, userData))).Fetch(bounded(t))
					if err != nil || res.UserData != nil || res.Metadata.InstanceID == "" {
						t.Errorf("instance %q, user data %q, error %v; want an instance without user data", res.Metadata.InstanceID, res.UserData, err)
					}
				})
			}
			t.Run("other platform", func(t *testing.T) {
				res, err := remoteSource(t, name, serve(t, http.NotFoundHandler())).Fetch(bounded(t))
				if !errors.Is(err, ErrAbsent) || !res.Empty() {
					t.Errorf("result %v, error %v; want none, %v", res, err, ErrAbsent)
				}
			})
			t.Run("web page", func(t *testing.T) {
				page := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = w.Write([]byte("<!DOCTYPE html>\n<html><head><title>Welcome to our hotel</title></head></html>\n"))
				}))
				res, err := remoteSource(t, name, page).Fetch(bounded(t))
				if err == nil || res.Metadata.InstanceID != "" {
					t.Errorf("instance %q, error %v; want an error", res.Metadata.InstanceID, err)
				}
			})
			t.Run("silent server", func(t *testing.T) {
				release := make(chan struct{})
				silent := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
				defer close(release)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				start := time.Now()
				_, err := remoteSource(t, name, silent).Fetch(ctx)
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 5*time.Second {
					t.Errorf("error %v after %s; want the deadline", err, took)
				}
			})
			t.Run("redirected", func(t *testing.T) {
				away := serve(t, recorded(name))
				for _, tt := range []struct {
					to      string
					wantErr bool
				}{{"", false}, {away, true}} {
					handler := recorded(name)
					base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if moved, ok := strings.CutPrefix(r.URL.Path, "/moved"); ok {
							r.URL.Path = moved
							handler(w, r)
							return
						}
						http.Redirect(w, r, tt.to+"/moved"+r.URL.RequestURI(), http.StatusTemporaryRedirect)
					}))
					res, err := remoteSource(t, name, base).Fetch(bounded(t))
					if (err != nil) != tt.wantErr || res.Empty() != tt.wantErr {
						t.Errorf("sent on to %q: error %v; want one: %v", tt.to, err, tt.wantErr)
					}
				}
			})
			t.Run("faults at first", func(t *testing.T) {
				asked := make(map[string]int)
				handler := recorded(name)
				base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if asked[r.URL.Path]++; asked[r.URL.Path] == 1 && len(asked) < 3 {
						w.WriteHeader(http.StatusServiceUnavailable)
						return
					}
					handler(w, r)
				}))
				if res, err := remoteSource(t, name, base).Fetch(bounded(t)); err != nil || res.Metadata.InstanceID == "" {
					t.Errorf("instance %q, error %v; want no error", res.Metadata.InstanceID, err)
				}
			})
		})
	}
}

func TestEC2Token(t *testing.T) {
	tests := []struct {
		name    string
		token   int // status of the answer to PUT
		without int // status of the answers without a token
		wantErr bool
	}{
		{"version 2 only", http.StatusOK, http.StatusUnauthorized, false},
		{"both", http.StatusOK, http.StatusOK, false},
		{"version 1 only", http.StatusNotFound, http.StatusOK, false},
		{"tokens refused", http.StatusForbidden, http.StatusOK, false},
		{"all refused", http.StatusForbidden, http.StatusForbidden, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			handler := recorded("ec2")
			base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status := tt.without
				switch {
				case r.Method == http.MethodPut:
					if status = tt.token; r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" {
						status = http.StatusBadRequest
					}
				case r.Header.Get("X-aws-ec2-metadata-token") == "AQAEANpdHLqfyfzKl6o-token==":
					status = http.StatusOK
				}
				if status != http.StatusOK {
					w.WriteHeader(status)
					return
				}
				handler(w, r)
			}))
			res, err := remoteSource(t, "ec2", base).Fetch(bounded(t))
			if (err != nil) != tt.wantErr || (res.UserData == nil) != tt.wantErr {
				t.Errorf("user data %q, error %v; want an error: %v", res.UserData, err, tt.wantErr)
			}
		})
	}
}

func TestGCEKey(t *testing.T) {
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	tests := []struct{ line, want string }{
		{"alice:ssh-rsa A alice", "ssh-rsa A alice"},
		{"ssh-rsa A alice", ""},
		{`bob:ssh-rsa A google-ssh {"userName":"b","expireOn":"2026-11-23T00:00:00+0000"}`, ""},
		{`bob:ssh-rsa A google-ssh {"expireOn":"2026-11-25T00:00:00+0000"}`, `ssh-rsa A google-ssh {"expireOn":"2026-11-25T00:00:00+0000"}`},
		{`bob:ssh-rsa A google-ssh {}`, `ssh-rsa A google-ssh {}`},
		{`bob:ssh-rsa A google-ssh {`, `ssh-rsa A google-ssh {`},
	}
	for _, tt := range tests {
		if got := gceKey(tt.line, now); got != tt.want {
			t.Errorf("gceKey(%q) = %q; want %q", tt.line, got, tt.want)
		}
	}
}

func TestOracleVersion1(t *testing.T) {
	handler := recorded("oracle")
	base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/opc/v2/") {
			http.NotFound(w, r)
			return
		}
		r.URL.Path = strings.Replace(r.URL.Path, "/v1/", "/v2/", 1)
		handler(w, r)
	}))
	if res, err := remoteSource(t, "oracle", base).Fetch(bounded(t)); err != nil || res.UserData == nil {
		t.Errorf("user data %q, error %v", res.UserData, err)
	}
}

func TestCloudStackAsksGateway(t *testing.T) {
	host := strings.TrimPrefix(serve(t, recorded("cloudstack")), "http://")
	for _, tt := range []struct {
		gateway func() (string, error)
		wantErr bool
	}{
		{func() (string, error) { return host, nil }, false},
		{func() (string, error) { return "", errors.New("no route") }, true},
	} {
		sources, err := New("cloudstack", Machine{Gateway: tt.gateway})
		if err != nil {
			t.Fatal(err)
		}
		if res, err := sources[0].Fetch(bounded(t)); (err != nil) != tt.wantErr || res.Empty() != tt.wantErr {
			t.Errorf("result %v, error %v; want an error: %v", res, err, tt.wantErr)
		}
	}
}

// diskOf returns the Read of the disk of a kind.
func diskOf(t *testing.T, item string) func(datasource.Files) (datasource.Result, error) {
	t.Helper()
	sources, err := New(item, Machine{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		if s.Disk != nil {
			return s.Disk.Read
		}
	}
	t.Fatalf("%s has no disk", item)
	return nil
}

func TestEnvironmentDisks(t *testing.T) {
	for _, name := range []string{"azure", "vmware"} {
		files := datasource.FromFS(os.DirFS("testdata/" + name + "-disk"))
		compare(t, name+"-disk", show(diskOf(t, name)(files)))
		for _, bad := range []string{"", "<a>", "<a><b></a>"} {
			if res, err := diskOf(t, name)(datasource.FromFS(fstest.MapFS{"ovf-env.xml": {Data: []byte(bad)}})); err == nil || !res.Empty() {
				t.Errorf("%s disk with %q = %v, %v; want an error", name, bad, res, err)
			}
		}
	}
}

func FuzzEnvironment(f *testing.F) {
	for _, name := range []string{"azure", "vmware"} {
		text, err := os.ReadFile("testdata/" + name + "-disk/ovf-env.xml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		files := func(string) ([]byte, error) { return text, nil }
		_, _ = azureDisk("azure", files)
		_, _ = diskOf(t, "vmware")(files)
	})
}

func TestGuestinfo(t *testing.T) {
	const config, key = "#cloud-config\n", "ssh-ed25519 A"
	metadata := "instance-id: vm-1\nlocal-hostname: web1\npublic-keys: [" + key + "]\nnetwork:\n  version: 2\n  ethernets:\n    eth0: {dhcp4: true}\n"
	variables := map[string]map[string]string{
		"vmware-cloudinit": {"metadata": metadata, "userdata": "I2Nsb3VkLWNvbmZpZwo=", "userdata.encoding": "base64", "vendordata": "#!/bin/sh\n"},
		"vmware-packed":    {"metadata": "H4sIAAAAAAAC/8vMKy5JzEtO1c1MsVIoy9U14gIA5oiHPBIAAAA=", "metadata.encoding": "gzip+base64", "userdata": config},
		"vmware-rancheros": {
			"hostname": "ros", "cloud-init.config.data": "I2Nsb3VkLWNvbmZpZwo=", "cloud-init.data.encoding": "base64",
			"dns.server.0": "192.0.2.53", "dns.server.1": "192.0.2.54", "dns.domain.0": "example.org",
			"interface.0.name": "eth0", "interface.0.dhcp": "no", "interface.0.ip.0.address": "192.0.2.5/24", "interface.0.ip.1.address": "2001:db8::5/64",
			"interface.0.route.0.gateway": "192.0.2.1", "interface.0.route.0.destination": "0.0.0.0/0", "interface.0.route.1.gateway": "192.0.2.9", "interface.0.route.1.destination": "10.0.0.0/8",
			"interface.1.mac": "00:50:56:01:02:03", "interface.1.dhcp": "yes",
		},
		"vmware-url":   {"hostname": "ros", "cloud-init.config.url": "http://192.0.2.1/config"},
		"vmware-ovf":   {"ovfEnv": `<Environment><PropertySection><Property key="guestinfo.hostname" value="x"/><Property key="user-data" value="#!/bin/sh"/></PropertySection></Environment>`},
		"vmware-wrong": {"metadata": "a: [", "userdata": "!", "userdata.encoding": "base64", "vendordata": "x", "vendordata.encoding": "rot13", "hostname": "a b", "ovfEnv": "<", "interface.0.dhcp": "yes", "dns.server.0": "x"},
		"vmware-none":  {},
	}
	for name, vars := range variables {
		t.Run(name, func(t *testing.T) {
			sources, err := New("vmware", Machine{Guestinfo: func(_ context.Context, key string) (string, error) { return vars[key], nil }})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, name, show(sources[0].Fetch(bounded(t))))
		})
	}
}

func TestGuestinfoAbsent(t *testing.T) {
	sources, err := New("vmware", Machine{Guestinfo: func(context.Context, string) (string, error) { return "", errors.New("no hypervisor") }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sources[0].Fetch(bounded(t)); !errors.Is(err, ErrAbsent) {
		t.Errorf("error %v; want %v", err, ErrAbsent)
	}
}
