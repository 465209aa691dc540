package userdocker

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// tlsDir holds what user Docker listens with when rancher.docker.tls is set.
const tlsDir = "/etc/docker/tls"

// A Wish has the daemon settings of the machine's configuration. The user's
// daemon.json wins over them.
type Wish struct {
	Values map[string]any
	// Env is added to the daemon's environment: "NAME=value".
	Env []string
	// Files go to tlsDir, by name.
	Files map[string]string
	// Problems are the keys without effect, with the reason.
	Problems []string
}

// tlsFiles says which files tlsDir has.
type tlsFiles func(name string) bool

// wishOf translates rancher.docker and the proxies of rancher.network. What
// cannot be used becomes a problem.
func wishOf(cfg osconfig.Config, has tlsFiles) Wish {
	d := cfg.Rancher.Docker
	w := Wish{Values: make(map[string]any), Files: make(map[string]string)}
	w.Env = append(cfg.Rancher.Network.ProxyEnvironment(), w.environment(d.Environment)...)
	set := func(key, value string) {
		if value != "" {
			w.Values[key] = value
		}
	}
	set("group", d.Group)
	set("storage-driver", d.StorageDriver)
	set("bridge", d.Bridge)
	set("log-driver", d.LogDriver)
	if d.Bridge != "" && d.BIP != "" {
		w.problem("bip", "the address of %s is not Docker's to choose", d.Bridge)
	} else {
		set("bip", string(d.BIP))
	}
	if len(d.LogOpts) > 0 {
		opts := make(map[string]any, len(d.LogOpts))
		for k, v := range d.LogOpts {
			opts[k] = v
		}
		w.Values["log-opts"] = opts
	}
	if d.DataRoot != "" {
		if err := checkDataRoot(d.DataRoot); err != nil {
			w.problem("data_root", "%v", err)
		} else {
			w.Values["data-root"] = d.DataRoot
		}
	}
	if d.UserlandProxy != "" {
		w.Values["userland-proxy"] = d.UserlandProxy.Or(true)
	}
	if d.LiveRestore != "" {
		w.Values["live-restore"] = d.LiveRestore.Or(true)
	}
	if d.Debug {
		w.Values["debug"] = true
	}
	if d.RegistryMirror != "" {
		w.Values["registry-mirrors"] = []any{string(d.RegistryMirror)}
	}
	w.add("insecure-registries", d.InsecureRegistry...)
	w.add("hosts", d.Host...)
	if d.UsernsEnabled {
		w.problem("userns_enabled", "the image of the engine has no subordinate users")
	}
	if d.Engine != "" {
		w.problem("engine", "the engine is part of the system; its version is the system's")
	}
	if d.ConfigFile != "" && d.ConfigFile != "/etc/docker/daemon.json" {
		w.problem("config_file", "it is /etc/docker/daemon.json")
	}
	w.arguments("extra_args", d.ExtraArgs)
	w.tls(d, has)
	return w
}

func (w *Wish) problem(key, format string, args ...any) {
	w.Problems = append(w.Problems, "rancher.docker."+key+": "+fmt.Sprintf(format, args...))
}

// add appends to a setting that is a list.
func (w *Wish) add(key string, values ...string) {
	for _, v := range values {
		list, _ := w.Values[key].([]any)
		w.Values[key] = append(list, v)
	}
}

func (w *Wish) environment(list []string) []string {
	var env []string
	for _, kv := range list {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" {
			w.problem("environment", "%q: want NAME=value", kv)
			continue
		}
		env = append(env, kv)
	}
	return env
}

// tls adds a listener for clients with a certificate. If a file for it is
// missing there is no listener: a port that is open to all gives the machine away.
func (w *Wish) tls(d osconfig.Engine, has tlsFiles) {
	for name, text := range map[string]string{
		"ca.pem": d.CACert, "server-cert.pem": d.ServerCert, "server-key.pem": string(d.ServerKey),
	} {
		if text != "" {
			w.Files[name] = text
		}
	}
	if !d.TLS {
		return
	}
	for _, name := range []string{"ca.pem", "server-cert.pem", "server-key.pem"} {
		if w.Files[name] == "" && !has(name) {
			w.problem("tls", "%s/%s is missing: set ca_cert, server_cert and server_key", tlsDir, name)
			return
		}
	}
	args := d.TLSArgs
	if len(args) == 0 {
		args = []string{"--tlsverify", "-H=0.0.0.0:2376"}
	}
	for key, value := range map[string]any{
		"tlsverify": true, "tlscacert": tlsDir + "/ca.pem", "tlscert": tlsDir + "/server-cert.pem", "tlskey": tlsDir + "/server-key.pem",
	} {
		w.Values[key] = value
	}
	w.arguments("tls_args", args)
}

// arguments translates arguments of dockerd(8) into the keys of its file: the
// daemon refuses to start with a setting in both places.
func (w *Wish) arguments(key string, args []string) {
	for i := 0; i < len(args); i++ {
		name, value, has := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		switch {
		case !strings.HasPrefix(args[i], "-"):
			w.problem(key, "%q: want an option of dockerd", args[i])
			continue
		case name == "H":
			name = "host"
		case name == "D":
			name = "debug"
		case name == "G":
			name = "group"
		case name == "l":
			name = "log-level"
		case name == "s":
			name = "storage-driver"
		case name == "g" || name == "graph":
			name = "data-root"
		}
		if !has && !isSwitch(name) && i+1 < len(args) {
			i++
			value = args[i]
		}
		if err := w.argument(name, value, has); err != nil {
			w.problem(key, "--%s: %v", name, err)
		}
	}
}

// isSwitch reports whether an option of the daemon has no argument.
func isSwitch(name string) bool {
	switch name {
	case "allow-direct-routing", "debug", "experimental", "icc", "init", "ip-forward", "ip-masq", "iptables", "ip6tables", "ipv6",
		"live-restore", "no-new-privileges", "no-proxy", "raw-logs", "rootless", "selinux-enabled", "tls", "tlsverify", "userland-proxy",
		"allow-nondistributable-artifacts-by-default":
		return name != "no-proxy"
	}
	return false
}

func (w *Wish) argument(name, value string, has bool) error {
	if isSwitch(name) {
		on := true
		if has {
			var err error
			if on, err = strconv.ParseBool(value); err != nil {
				return fmt.Errorf("%q: want true or false", value)
			}
		}
		w.Values[name] = on
		return nil
	}
	switch name {
	case "host":
		if !strings.Contains(value, "://") {
			value = "tcp://" + value
		}
		w.add("hosts", value)
	case "insecure-registry":
		w.add("insecure-registries", value)
	case "registry-mirror", "storage-opt", "exec-opt", "label", "dns-opt", "authorization-plugin":
		w.add(name+"s", value)
	case "dns", "dns-search":
		w.add(name, value)
	case "log-opt":
		return w.entry("log-opts", value)
	case "default-ulimit":
		return w.ulimit(value)
	case "mtu", "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts", "network-control-plane-mtu",
		"shutdown-timeout":
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q: want a number", value)
		}
		w.Values[name] = n
	case "data-root":
		if err := checkDataRoot(value); err != nil {
			return err
		}
		w.Values[name] = value
	case "bip", "bip6", "bridge", "default-cgroupns-mode", "default-gateway", "default-gateway-v6", "default-ipc-mode",
		"default-runtime", "default-shm-size", "firewall-backend", "fixed-cidr", "fixed-cidr-v6", "group", "http-proxy",
		"https-proxy", "init-path", "ip", "log-driver", "log-format", "log-level", "metrics-addr", "no-proxy",
		"seccomp-profile", "storage-driver", "tlscacert", "tlscert", "tlskey", "userland-proxy-path", "userns-remap":
		w.Values[name] = value
	default:
		return fmt.Errorf("no effect here; use /etc/docker/daemon.json if the daemon knows it")
	}
	return nil
}

// entry adds NAME=value to a setting that is a map.
func (w *Wish) entry(key, text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%q: want NAME=value", text)
	}
	m, _ := w.Values[key].(map[string]any)
	if m == nil {
		m = make(map[string]any)
		w.Values[key] = m
	}
	m[name] = value
	return nil
}

// ulimit adds NAME=soft[:hard].
func (w *Wish) ulimit(text string) error {
	name, limits, ok := strings.Cut(text, "=")
	soft, hard, two := strings.Cut(limits, ":")
	if !two {
		hard = soft
	}
	s, err := strconv.ParseInt(soft, 10, 64)
	h, err2 := strconv.ParseInt(hard, 10, 64)
	if !ok || err != nil || err2 != nil {
		return fmt.Errorf("%q: want NAME=soft:hard", text)
	}
	m, _ := w.Values["default-ulimits"].(map[string]any)
	if m == nil {
		m = make(map[string]any)
		w.Values["default-ulimits"] = m
	}
	m[name] = map[string]any{"Name": name, "Soft": json.Number(strconv.FormatInt(s, 10)), "Hard": json.Number(strconv.FormatInt(h, 10))}
	return nil
}
