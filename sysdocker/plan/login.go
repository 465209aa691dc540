package plan

import (
	"encoding/base64"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// hub is the registry of names without a host.
const hub = "docker.io"

// Login finds the login of rancher.registry_auths for an image. It is zero if
// there is none.
func Login(ref string, auths map[string]osconfig.RegistryAuth) dockerapi.Login {
	host := hub
	// The rule of image names: what precedes the first slash is a host if it
	// looks like one.
	if first, _, ok := strings.Cut(ref, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		host = registryHost(first)
	}
	for key, a := range auths {
		if registryHost(key) != host {
			continue
		}
		login := dockerapi.Login{
			Username: a.Username, Password: string(a.Password), IdentityToken: string(a.IdentityToken),
			RegistryToken: string(a.RegistryToken), ServerAddress: a.ServerAddress,
		}
		if login.ServerAddress == "" {
			login.ServerAddress = host
		}
		if raw, err := base64.StdEncoding.DecodeString(string(a.Auth)); err == nil && login.Username == "" {
			login.Username, login.Password, _ = strings.Cut(string(raw), ":")
		}
		return login
	}
	return dockerapi.Login{}
}

// registryHost reads what `docker login` and people write for a registry:
// "https://index.docker.io/v1/" is docker.io.
func registryHost(text string) string {
	if _, rest, ok := strings.Cut(text, "://"); ok {
		text = rest
	}
	host, _, _ := strings.Cut(text, "/")
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return hub
	}
	return host
}
