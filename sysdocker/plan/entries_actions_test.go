package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

func TestActionsForEntries(t *testing.T) {
	list, mistakes := Configure(parseServices(t, "{web: {image: nginx, networks: [front], depends_on: [db]}, db: {image: db}}"), nil, files)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	web := list[1]
	have := func(state dockerapi.State, spec string) []dockerapi.Container {
		return []dockerapi.Container{
			{ID: "d", Name: "db", State: dockerapi.Running},
			{ID: "w", Name: "web", State: state, Labels: map[string]string{LabelConfigured: "web", LabelSpec: spec}},
		}
	}
	now := web.Spec.Config.Labels[LabelSpec]
	const provide = "make-network web (front): it joins it, unless it is there\npull-image web (nginx): needed for a new container, unless it is there\n"
	tests := []struct {
		name     string
		target   Target
		pull     string
		existing []dockerapi.Container
		want     string
	}{
		{"new", Running, "", nil, provide + "create-container web: there is none yet\nstart-container web after db: new container\n"},
		{"runs", Running, "", have(dockerapi.Running, now), ""},
		{"is started again by its daemon", Running, "", have(dockerapi.Restarting, now), ""},
		{"ended", Running, "", have(dockerapi.Exited, now), "start-container web (w) after db: is exited\n"},
		{"changed", Running, "", have(dockerapi.Running, "old"), provide + "remove-container web (w): its entry has changed\ncreate-container web: its entry has changed\nstart-container web after db: new container\n"},
		{"never pull", Running, "never", nil, "make-network web (front): it joins it, unless it is there\ncreate-container web: there is none yet\nstart-container web after db: new container\n"},
		{"always pull", Running, "always", nil, "make-network web (front): it joins it, unless it is there\npull-image web (nginx): pull_policy is always\ncreate-container web: there is none yet\nstart-container web after db: new container\n"},
		{"only made", Existing, "", nil, provide + "create-container web: there is none yet\n"},
		{"made", Existing, "", have(dockerapi.Created, now), ""},
		{"to rest and runs", Stopped, "", have(dockerapi.Running, "old"), "stop-container web (w): told to\n"},
		{"to rest and rests", Stopped, "", have(dockerapi.Exited, now), ""},
		{"to rest and is not there", Stopped, "", nil, ""},
		{"to go", Gone, "", have(dockerapi.Running, now), "remove-container web (w): told to\n"},
		{"gone", Gone, "", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := web
			c.Target, c.Pull, c.Why = tt.target, tt.pull, "told to"
			actions, err := Actions(c, tt.existing)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, a := range actions {
				got.WriteString(a.String() + "\n")
			}
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConverge(t *testing.T) {
	list, _ := Configure(parseServices(t, "{web: {image: nginx, pull_policy: never}, db: {image: db}}"), nil, files)
	existing := []dockerapi.Container{
		{ID: "d", Name: "db"}, // somebody else's
		{ID: "o", Name: "old", Labels: map[string]string{LabelConfigured: "old"}},
	}
	actions, problems := Converge(list, existing, true)
	if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), "db: container db exists and is not from the configuration") {
		t.Errorf("problems = %v", problems)
	}
	var got []string
	for _, a := range actions {
		got = append(got, a.String())
	}
	want := []string{
		"remove-container old (o): no service of this name is configured any more",
		"create-container web: there is none yet", "start-container web: new container",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if actions, _ := Converge(list, existing, false); len(actions) != 2 {
		t.Errorf("with a mistake in the configuration: %v; want nothing removed", actions)
	}
}
