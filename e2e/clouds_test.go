package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// An instance is what a cloud knows about a machine.
type instance struct {
	name string
	keys []string
	// mac is the address of its network card.
	mac      string
	userData string
}

// cargo is user data that writes a file.
func cargo(content string) string {
	return "#cloud-config\nwrite_files:\n  - path: /opt/cargo\n    content: " + content + "\n"
}

// A cloud is a metadata service. What each answers follows the documentation
// that os-config/datasource/platform names.
type cloud struct {
	// source is its name in rancher.cloud_init.datasources.
	source string
	serve  func(instance) http.Handler
	// address is what the metadata gives eth0 beside the address that QEMU
	// forwards SSH to; "" where the metadata says nothing about the network.
	address string
}

func clouds() []cloud {
	return []cloud{
		{"digitalocean", digitalOcean, "10.17.0.9/16"},
		{"gce", gce, ""},
		{"azure", azure, ""},
		{"openstack", openStack, "10.18.0.9/16"},
		{"hetzner", hetzner, "fd00:e2e::9/64"},
		{"vultr", vultr, "10.20.0.9/16"},
		{"oracle", oracle, ""},
		{"scaleway", scaleway, ""},
		{"packet", packet, ""},
		{"cloudstack", func(i instance) http.Handler { return metadataTree(i, "") }, ""},
		{"exoscale", func(i instance) http.Handler { return metadataTree(i, "") }, ""},
		{"aliyun", func(i instance) http.Handler { return metadataTree(i, "X-aliyun-ecs-metadata-token") }, ""},
	}
}

// checkClouds lets a machine look for its user data anew, in one cloud after
// the other.
func (g *guest) checkClouds(t *testing.T, list []cloud) {
	mac := g.sh(t, "cat /sys/class/net/eth0/address")
	for _, c := range list {
		t.Run(c.source, func(t *testing.T) {
			key := newKey(t)
			i := instance{"ship-" + c.source, []string{g.key.Authorized, key.Authorized}, mac, cargo("from " + c.source)}
			g.sh(t, "sudo ros config set rancher.cloud_init.datasources '[%s:%s]'", c.source, serve(t, c.serve(i)))
			g.sh(t, "sudo system-docker restart -t 1 cloud-init")
			g.eventually(t, "name from "+c.source, 30*time.Second, g.succeeds("test $(hostname) = "+i.name))
			g.apply(t, "")
			if got := g.sh(t, "cat /opt/cargo"); got != "from "+c.source {
				t.Errorf("file of the user data holds %q", got)
			}
			client, err := g.AwaitSSH(loginDeadline, qemutest.LoginKey("rancher", key))
			if err != nil {
				t.Fatalf("login with the key of the metadata: %v", err)
			}
			client.Close()
			if c.address != "" {
				g.eventually(t, "address from "+c.source, 30*time.Second, g.succeeds("ip addr show eth0 | grep -q ' "+c.address+" '"))
			}
		})
	}
}

// files serves texts by path, to whoever sends a header, unless that is "".
func files(header, value string, texts map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := texts[r.URL.Path]
		switch {
		case header != "" && r.Header.Get(header) != value:
			http.Error(w, header+" is missing", http.StatusForbidden)
		case !ok:
			http.NotFound(w, r)
		default:
			fmt.Fprint(w, text)
		}
	})
}

type object = map[string]any

// encode returns v as JSON, which is also YAML.
func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error()) // objects of texts and numbers
	}
	return string(text)
}

func digitalOcean(i instance) http.Handler {
	return files("", "", map[string]string{"/metadata/v1.json": encode(object{
		"droplet_id": 2756294, "hostname": i.name, "user_data": i.userData, "public_keys": i.keys,
		"interfaces": object{"public": []object{{
			"mac":         i.mac,
			"ipv4":        object{"ip_address": "10.0.2.15", "netmask": "255.255.255.0", "gateway": "10.0.2.2"},
			"anchor_ipv4": object{"ip_address": "10.17.0.9", "netmask": "255.255.0.0", "gateway": "10.17.0.1"},
		}}},
	})})
}

func gce(i instance) http.Handler {
	var lines []string
	for _, key := range i.keys {
		lines = append(lines, "rancher:"+key)
	}
	return files("Metadata-Flavor", "Google", map[string]string{"/computeMetadata/v1/": encode(object{
		"instance": object{
			"id": 5236432743519784958, "hostname": i.name + ".c.e2e.internal",
			"attributes": object{"ssh-keys": strings.Join(lines, "\n"), "user-data": i.userData},
		},
		"project": object{"attributes": object{}},
	})})
}

func azure(i instance) http.Handler {
	var keys []object
	for _, key := range i.keys {
		keys = append(keys, object{"keyData": key + "\r\n", "path": "/home/azureuser/.ssh/authorized_keys"})
	}
	return files("Metadata", "true", map[string]string{"/metadata/instance": encode(object{"compute": object{
		"name": "vm-1", "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6", "osProfile": object{"computerName": i.name},
		"publicKeys": keys, "userData": base64.StdEncoding.EncodeToString([]byte(i.userData)),
	}})})
}

func openStack(i instance) http.Handler {
	keys := make(object)
	for n, key := range i.keys {
		keys[fmt.Sprint("key", n)] = key
	}
	const dir = "/openstack/latest/"
	return files("", "", map[string]string{
		dir + "meta_data.json": encode(object{"uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "hostname": i.name, "public_keys": keys}),
		dir + "user_data":      i.userData,
		dir + "network_data.json": encode(object{
			"links": []object{{"id": "tap0", "type": "ovs", "ethernet_mac_address": i.mac}},
			"networks": []object{
				{"id": "network0", "type": "ipv4", "link": "tap0", "ip_address": "10.0.2.15", "netmask": "255.255.255.0", "gateway": "10.0.2.2"},
				{"id": "network1", "type": "ipv4", "link": "tap0", "ip_address": "10.18.0.9", "netmask": "255.255.0.0"},
			},
		}),
	})
}

func hetzner(i instance) http.Handler {
	return files("", "", map[string]string{
		"/hetzner/v1/metadata": encode(object{
			"hostname": i.name, "instance-id": 42, "public-keys": i.keys,
			"network-config": object{"version": 1, "config": []object{{
				"type": "physical", "name": "eth0", "mac_address": i.mac, "subnets": []object{
					{"type": "dhcp", "ipv4": true},
					{"type": "static", "ipv6": true, "address": "fd00:e2e::9/64"},
				},
			}}},
		}),
		"/hetzner/v1/userdata": i.userData,
	})
}

func vultr(i instance) http.Handler {
	return files("Metadata-Token", "cloudinit", map[string]string{"/v1.json": encode(object{
		"hostname": i.name, "instance-v2-id": "e2e", "public-keys": i.keys, "user-data": i.userData,
		"interfaces": []object{{"mac": i.mac, "network-type": "public", "ipv4": object{
			"additional": []object{{"address": "10.20.0.9", "netmask": "255.255.0.0"}},
		}}},
	})})
}

func oracle(i instance) http.Handler {
	return files("Authorization", "Bearer Oracle", map[string]string{"/opc/v2/instance/": encode(object{
		"id": "ocid1.instance.e2e", "hostname": i.name, "metadata": object{
			"ssh_authorized_keys": strings.Join(i.keys, "\n"), "user_data": base64.StdEncoding.EncodeToString([]byte(i.userData)),
		},
	})})
}

// scaleway cannot tell from which port the machine asks: QEMU's network asks
// in its place.
func scaleway(i instance) http.Handler {
	var keys []object
	for _, key := range i.keys {
		keys = append(keys, object{"key": key})
	}
	return files("", "", map[string]string{
		"/conf":                 encode(object{"id": "11111111-1111-4111-8111-111111111111", "hostname": i.name, "ssh_public_keys": keys}),
		"/user_data/cloud-init": i.userData,
	})
}

func packet(i instance) http.Handler {
	return files("", "", map[string]string{
		"/metadata": encode(object{"id": "e2e", "hostname": i.name, "ssh_keys": i.keys}),
		"/userdata": i.userData,
	})
}

// ec2 is the instance metadata service, version 2.
// Source: AWS, "Use IMDSv2" and "Instance metadata categories".
func ec2(i instance) http.Handler { return metadataTree(i, "X-aws-ec2-metadata-token") }

// metadataTree is a service in the manner of EC2's. With a header, it wants a
// token there.
func metadataTree(i instance, header string) http.Handler {
	const token = "AQAEAKs-e2e"
	tree := map[string]string{
		"meta-data/instance-id":                 "i-0e2e",
		"meta-data/local-hostname":              i.name,
		"meta-data/hostname":                    i.name,
		"meta-data/placement/availability-zone": "eu-e2e-1a",
		"user-data":                             i.userData,
		"dynamic/instance-identity/document":    "{}",
	}
	for n, key := range i.keys {
		tree["meta-data/public-keys/"] += fmt.Sprintf("%d=e2e\n", n)
		tree[fmt.Sprintf("meta-data/public-keys/%d/openssh-key", n)] = key
	}
	mux := http.NewServeMux()
	if header != "" {
		mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, token) })
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		if header != "" && r.Header.Get(header) != token {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // without the API version
		text, ok := tree[path]
		if !ok {
			text, ok = tree[path+"/"]
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	})
	return mux
}

// noCloud serves a seed of cloud-init's NoCloud source.
func noCloud(i instance) http.Handler {
	return files("", "", map[string]string{
		"/seed/user-data": i.userData,
		"/seed/meta-data": encode(object{"instance-id": "i-0e2e", "local-hostname": i.name, "public-keys": i.keys}),
	})
}
