package datasource

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestRead(t *testing.T) {
	const userData, metaData = "openstack/latest/user_data", "openstack/latest/meta_data.json"
	tests := []struct {
		name    string
		read    func(fs.FS) (Result, error)
		files   fstest.MapFS
		want    Result
		wantErr bool
	}{
		{"config drive", ConfigDrive, fstest.MapFS{
			userData: file("#cloud-config\n"),
			metaData: file(`{"uuid": "83679162", "hostname": "test.novalocal", "name": "test", "public_keys": {"b": "ssh-rsa B\n", "a": "ssh-rsa A"}, "meta": {"x": "y"}}`),
		}, Result{
			Metadata: osconfig.Metadata{Datasource: "config-2", InstanceID: "83679162", Hostname: "test.novalocal", PublicKeys: []string{"ssh-rsa A", "ssh-rsa B"}},
			UserData: []byte("#cloud-config\n"),
		}, false},
		{"config drive without metadata", ConfigDrive, fstest.MapFS{userData: file("#!/bin/sh\n")},
			Result{Metadata: osconfig.Metadata{Datasource: "config-2"}, UserData: []byte("#!/bin/sh\n")}, false},
		{"empty config drive", ConfigDrive, fstest.MapFS{}, Result{Metadata: osconfig.Metadata{Datasource: "config-2"}}, false},
		{"config drive with broken metadata", ConfigDrive, fstest.MapFS{userData: file("x"), metaData: file("{")},
			Result{Metadata: osconfig.Metadata{Datasource: "config-2"}, UserData: []byte("x")}, true},
		{"config drive with a bad host name", ConfigDrive, fstest.MapFS{metaData: file(`{"hostname": "a b", "public_keys": {"a": "A"}}`)},
			Result{Metadata: osconfig.Metadata{Datasource: "config-2", PublicKeys: []string{"A"}}}, true},

		{"seed disk", NoCloud, fstest.MapFS{
			"user-data": file("#cloud-config\n"),
			"meta-data": file("instance-id: iid-1\nlocal-hostname: cloudimg\npublic-keys:\n- ssh-ed25519 A\n- ssh-ed25519 B\n"),
		}, Result{
			Metadata: osconfig.Metadata{Datasource: "cidata", InstanceID: "iid-1", Hostname: "cloudimg", PublicKeys: []string{"ssh-ed25519 A", "ssh-ed25519 B"}},
			UserData: []byte("#cloud-config\n"),
		}, false},
		{"seed disk with named keys", NoCloud, fstest.MapFS{"meta-data": file(`{"instance-id": 7, "hostname": "h", "public-keys": {"0": {"openssh-key": "A"}, "1": "B\n\n# old\nC"}}`)},
			Result{Metadata: osconfig.Metadata{Datasource: "cidata", InstanceID: "7", Hostname: "h", PublicKeys: []string{"A", "B", "C"}}}, false},
		{"seed disk with empty metadata", NoCloud, fstest.MapFS{"user-data": file("x"), "meta-data": file("")},
			Result{Metadata: osconfig.Metadata{Datasource: "cidata"}, UserData: []byte("x")}, false},
		{"seed disk with broken metadata", NoCloud, fstest.MapFS{"user-data": file("x"), "meta-data": file("a: [")},
			Result{Metadata: osconfig.Metadata{Datasource: "cidata"}, UserData: []byte("x")}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.read(tt.files)
			if (err != nil) != tt.wantErr {
				t.Errorf("error = %v; want one: %v", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func zip(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestParseUserData(t *testing.T) {
	tests := []struct {
		name, data     string
		config, script string
		err            error
	}{
		{name: "nothing"},
		{name: "only blanks", data: " \n\n"},
		{name: "cloud-config", data: "#cloud-config\nhostname: a\n", config: "#cloud-config\nhostname: a\n"},
		{name: "cloud-config from Windows", data: "\ufeff#cloud-config \r\na: b\r\n", config: "#cloud-config \r\na: b\r\n"},
		{name: "script", data: "#!/bin/sh\necho\n", script: "#!/bin/sh\necho\n"},
		{name: "packed", data: zip(t, "#!/bin/sh\n"), script: "#!/bin/sh\n"},
		{name: "compose", data: "#compose\nweb:\n  image: nginx\n", config: "rancher:\n  services:\n    web:\n      image: nginx\n"},
		{name: "plain text", data: "hello", err: ErrKind},
		{name: "other first word", data: "#cloud-config-archive\n", err: ErrKind},
		{name: "broken gzip", data: "\x1f\x8b", err: errAny},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseUserData([]byte(tt.data))
			if (err != nil) != (tt.err != nil) || tt.err != errAny && !errors.Is(err, tt.err) {
				t.Errorf("error = %v; want %v", err, tt.err)
			}
			if string(got.Config) != tt.config || string(got.Script) != tt.script {
				t.Errorf("ParseUserData = config %q, script %q; want %q, %q", got.Config, got.Script, tt.config, tt.script)
			}
		})
	}
}

var errAny = errors.New("any")

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "#cloud-config\n", "#compose\na: b", "\x1f\x8b\x08", `{"public_keys": {"a": 1}}`, "public-keys: &a [*a]", "public-keys: {0: {x: [y]}}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = ParseUserData(data)
		_, _ = ConfigDrive(fstest.MapFS{"openstack/latest/meta_data.json": {Data: data}})
		_, _ = NoCloud(fstest.MapFS{"meta-data": {Data: data}})
	})
}
