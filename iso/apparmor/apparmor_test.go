package apparmor

import (
	"strings"
	"testing"
	"text/template"

	"github.com/bulkhead-os/bulkhead/images"
)

// Each profile is in the policy, by its name, with the right that it is for, and
// Docker's as it is.
func TestPolicy(t *testing.T) {
	text, err := policy(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	profiles := make(map[string]string)
	for _, part := range strings.Split(text, "\nprofile \"")[1:] {
		name, rules, _ := strings.Cut(part, "\"")
		profiles[name] = rules
	}
	if len(profiles) != 1+len(images.Profiles()) {
		t.Errorf("profiles: %d; want Docker's and %v", len(profiles), images.Profiles())
	}
	for _, rule := range []string{"deny mount,", "signal (receive) peer=unconfined,", "deny @{PROC}/sys/[^k]** w,", "deny network alg,"} {
		if !strings.Contains(profiles[dockerDefault], rule) {
			t.Errorf("%s has no %q:\n%s", dockerDefault, rule, profiles[dockerDefault])
		}
	}
	for name, want := range map[string]string{
		images.ProfileMount:      "  mount,",
		images.ProfileNetSysctls: "deny @{PROC}/sys/[^kn]** w,",
		images.ProfileSignal:     "signal (send,receive) peer=unconfined,",
	} {
		if !strings.Contains(profiles[name], want) || !strings.Contains(profiles[name], `peer="`+name+`"`) {
			t.Errorf("%s has no %q:\n%s", name, want, profiles[name])
		}
		docker := strings.Split(strings.TrimSpace(profiles[dockerDefault]), "\n")
		for i, line := range strings.Split(strings.ReplaceAll(strings.TrimSpace(profiles[name]), name, dockerDefault), "\n") {
			if i >= len(docker) || line != docker[i] && !strings.Contains(line, want) {
				t.Errorf("%s has %q where Docker's has not", name, line)
			}
		}
	}
}

// A profile of Docker's that has other rules is looked at by people first.
func TestChangedProfile(t *testing.T) {
	other := template.Must(template.New("").Parse("profile \"{{.Name}}\" {\n  mount,\n}\n"))
	if got, err := render(other, images.ProfileMount); err == nil || !strings.Contains(err.Error(), `"deny mount," 0 times`) {
		t.Errorf("%s, %v; want an error that names the rule", got, err)
	}
}
