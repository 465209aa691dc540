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
	texts, err := profiles(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, text := range texts {
		head, rules, _ := strings.Cut(text, "\nprofile \"")
		name, rules, _ := strings.Cut(rules, "\"")
		got[name] = rules
		if !strings.Contains(head, "\n@{PROC}=/proc/\n") {
			t.Errorf("%s: no variable PROC in %q", name, head)
		}
	}
	if len(got) != 1+len(images.Profiles()) {
		t.Errorf("%d profiles; want Docker's and %v", len(got), images.Profiles())
	}
	for _, rule := range []string{"deny mount,", "signal (receive) peer=unconfined,", "deny @{PROC}/sys/[^k]** w,", "deny network alg,"} {
		if !strings.Contains(got[dockerDefault], rule) {
			t.Errorf("%s has no %q:\n%s", dockerDefault, rule, got[dockerDefault])
		}
	}
	for name, want := range map[string]string{
		images.ProfileMount:      "  mount,",
		images.ProfileNetSysctls: "deny @{PROC}/sys/[^kn]** w,",
		images.ProfileSignal:     "signal (send,receive) peer=unconfined,",
	} {
		if !strings.Contains(got[name], want) || !strings.Contains(got[name], `peer="`+name+`"`) {
			t.Errorf("%s has no %q:\n%s", name, want, got[name])
		}
		docker := strings.Split(strings.TrimSpace(got[dockerDefault]), "\n")
		for i, line := range strings.Split(strings.ReplaceAll(strings.TrimSpace(got[name]), name, dockerDefault), "\n") {
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
