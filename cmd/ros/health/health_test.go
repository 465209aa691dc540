package health

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

func TestJudge(t *testing.T) {
	cidr := func(s string) net.Addr {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		return &net.IPNet{IP: ip, Mask: n.Mask}
	}
	up := net.FlagUp | net.FlagRunning
	v4, local := cidr("10.0.2.15/24"), cidr("fe80::1/64")
	for _, tt := range []struct {
		name  string
		links []link
		want  string
	}{
		{"no link", nil, ""},
		{"cable unplugged", []link{{"eth0", net.FlagUp, nil}}, ""},
		{"only bridges", []link{{"docker0", up, nil}}, ""},
		{"address", []link{{"eth0", up, []net.Addr{local, v4}}}, ""},
		{"one of two", []link{{"eth0", up, nil}, {"eth1", up, []net.Addr{v4}}}, ""},
		{"link-local only", []link{{"eth0", up, []net.Addr{local}}, {"enp1s0", up, nil}}, "no address on eth0, enp1s0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := judge(tt.links, []string{"eth0", "eth1", "enp1s0"}); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("judge = %q; want %q", got, tt.want)
			}
		})
	}
}

func TestDockerAPI(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.sock")
	status := http.StatusOK
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_ping" {
			t.Errorf("path %s; want /_ping", r.URL.Path)
		}
		w.WriteHeader(status)
	}))
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	if err := dockerAPI(path)(t.Context()); err != nil {
		t.Errorf("daemon that answers: %v", err)
	}
	status = http.StatusInternalServerError
	if err := dockerAPI(path)(t.Context()); err == nil {
		t.Error("daemon that answers 500: no error")
	}
	srv.Close()
	if err := dockerAPI(path)(t.Context()); err == nil {
		t.Error("daemon that is gone: no error")
	}
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := socket("unixgram", path)(t.Context()); err == nil {
		t.Error("no socket: no error")
	}
	c, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := socket("unixgram", path)(t.Context()); err != nil {
		t.Errorf("socket: %v", err)
	}
}
