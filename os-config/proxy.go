package osconfig

import "strings"

// ProxyEnvironment returns the variables, NAME=VALUE, that tell programs about
// the proxies, in both of the notations in use. They may hold a password.
func (n Network) ProxyEnvironment() []string {
	var vars []string
	for _, v := range []struct{ name, value string }{
		{"http_proxy", n.HTTPProxy.Reveal()}, {"https_proxy", n.HTTPSProxy.Reveal()}, {"no_proxy", n.NoProxy},
	} {
		if v.value != "" {
			vars = append(vars, v.name+"="+v.value, strings.ToUpper(v.name)+"="+v.value)
		}
	}
	return vars
}
