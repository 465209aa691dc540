package e2e

import (
	"testing"
	"time"
)

// startedAt tells when each OS service but user Docker has started.
const startedAt = "system-docker inspect -f '{{.Name}} {{.State.StartedAt}}' acpid cloud-init console network ntp syslog udev"

// What a user does to their own tier leaves the OS tier alone.
func TestUserCannotSinkTheShip(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	// Homes were the user's to delete; a new start of the console makes them.
	t.Cleanup(func() {
		_, _ = g.output("sudo system-docker restart console")
		g.awaitHealthy(t, 90*time.Second)
	})

	tests := []struct{ name, command string }{
		{"docker rm -f of everything, and prune", "docker rm -f $(docker ps -qa); docker system prune -af --volumes"},
		{"a privileged container that deletes the host's root", "docker run --rm -v /:/h --privileged " + image + " rm -rf /h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g.needImage(t)
			g.sh(t, "docker run -d %s sleep 1000", image)
			before := g.root(t, startedAt)
			g.try(t, tt.command) // how it ends does not matter
			if after := g.root(t, startedAt); after != before {
				t.Errorf("services were restarted\nbefore:\n%s\nafter:\n%s", before, after)
			}
			g.awaitHealthy(t, 60*time.Second)
			g.eventually(t, "user Docker runs containers", 60*time.Second, func() error {
				g.needImage(t)
				return g.succeeds("docker run --rm " + image + " true")()
			})
		})
	}
}
