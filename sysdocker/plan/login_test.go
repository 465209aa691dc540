package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestLogin(t *testing.T) {
	auths := map[string]osconfig.RegistryAuth{
		"https://index.docker.io/v1/": {Username: "ann", Password: "p"},
		"registry.test:5000":          {Auth: "Ym9iOnB3OjE="}, // bob:pw:1
		"token.test":                  {RegistryToken: "t", ServerAddress: "auth.test"},
	}
	for ref, want := range map[string]dockerapi.Login{
		"nginx":                    {Username: "ann", Password: "p", ServerAddress: "docker.io"},
		"library/nginx:1":          {Username: "ann", Password: "p", ServerAddress: "docker.io"},
		"docker.io/library/nginx":  {Username: "ann", Password: "p", ServerAddress: "docker.io"},
		"registry.test:5000/a/b:1": {Username: "bob", Password: "pw:1", ServerAddress: "registry.test:5000"},
		"token.test/x":             {RegistryToken: "t", ServerAddress: "auth.test"},
		"other.test/x":             {},
		"localhost/x":              {},
	} {
		if diff := cmp.Diff(want, Login(ref, auths)); diff != "" {
			t.Errorf("%s: %s", ref, diff)
		}
	}
}
