package plan

import (
	"encoding/json"
	"strings"
	"testing"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestConfigure(t *testing.T) {
	value := "1"
	web, err := Configure("web", osconfig.Service{
		Image: "nginx:1", Command: osconfig.Words{"nginx", "-g", "daemon off;"},
		Environment: osconfig.Environment{"A": &value, "FROM_OS": nil, "UNKNOWN": nil},
		Volumes:     []string{"/srv:/usr/share/nginx/html:ro", "cache:/var/cache"},
		Ports:       []string{"8080:80", "127.0.0.1:53:53/udp", "9000-9001:9000-9001"},
		Restart:     "on-failure:5", Labels: osconfig.Labels{"tier": "front"},
	}, map[string]string{"FROM_OS": "yes"})
	if err != nil {
		t.Fatal(err)
	}
	agent, err := Configure("agent", osconfig.Service{
		Image: "agent", Privileged: true, Net: "host", Labels: osconfig.Labels{labelScope: "system"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if web.System || !agent.System {
		t.Errorf("in the system tier: web %v, agent %v; want agent only", web.System, agent.System)
	}
	for _, c := range []Configured{web, agent} {
		text, err := json.MarshalIndent(struct{ Config, Host any }{notZero(t, c.Spec.Config), notZero(t, c.Spec.Host)}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "configured-"+c.Name+".json", string(text)+"\n")
	}
}

func TestConfigureErrors(t *testing.T) {
	system := osconfig.Labels{labelScope: "system"}
	tests := []struct {
		service osconfig.Service
		want    string
	}{
		{osconfig.Service{}, "rancher.services.x: image is missing"},
		{osconfig.Service{Image: "a", Restart: "sometimes"}, "rancher.services.x.restart: "},
		{osconfig.Service{Image: "a", Restart: "on-failure:x"}, "rancher.services.x.restart: "},
		{osconfig.Service{Image: "a", Ports: []string{"80:b"}}, "rancher.services.x.ports: "},
		{osconfig.Service{Image: "a", Ports: []string{"80:80"}, Labels: system}, "rancher.services.x.ports: not in the system tier"},
	}
	for _, tt := range tests {
		if _, err := Configure("x", tt.service, nil); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("Configure(%+v) = %v; want %s…", tt.service, err, tt.want)
		}
	}
}
