package platform

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// gce asks Google's metadata server:
// https://cloud.google.com/compute/docs/metadata/overview
func gce(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base, "Metadata-Flavor", "Google")
	defer c.close()
	var meta struct {
		Instance struct {
			ID         scalar
			Hostname   string
			Attributes map[string]string
		}
		Project struct{ Attributes map[string]string }
	}
	var res datasource.Result
	if err := c.getJSON(ctx, "/computeMetadata/v1/?recursive=true", &meta); err != nil {
		return res, err
	}
	var errs []error
	m := &res.Metadata
	m.InstanceID = string(meta.Instance.ID)
	// The name with its domain is longer than Linux takes.
	name, _, _ := strings.Cut(meta.Instance.Hostname, ".")
	errs = append(errs, datasource.SetHostname(m, name))

	own, project := meta.Instance.Attributes, meta.Project.Attributes
	lists := []string{own["sshKeys"], own["ssh-keys"]}
	if own["sshKeys"] == "" && !strings.EqualFold(own["block-project-ssh-keys"], "true") {
		lists = append(lists, project["ssh-keys"], project["sshKeys"])
	}
	for _, line := range datasource.Lines(strings.Join(lists, "\n")) {
		if key := gceKey(line, time.Now()); key != "" {
			m.PublicKeys = append(m.PublicKeys, key)
		}
	}

	// RancherOS ran a start-up script where there was no user data.
	data := cmp.Or(own["user-data"], own["startup-script"])
	if data != "" {
		res.UserData = []byte(data)
	}
	switch encoding := own["user-data-encoding"]; {
	case own["user-data"] == "" || encoding == "":
	case encoding == "base64":
		plain, err := decodeBase64(data)
		res.UserData, errs = plain, append(errs, err)
	default:
		errs = append(errs, fmt.Errorf("user-data-encoding %.40q: expected base64", encoding))
	}
	return res, errors.Join(errs...)
}

// gceKey returns the key of a line "user:key", "" when it has expired:
// https://cloud.google.com/compute/docs/connect/add-ssh-keys
func gceKey(line string, now time.Time) string {
	_, key, ok := strings.Cut(line, ":")
	if !ok {
		return ""
	}
	_, comment, ok := strings.Cut(key, " google-ssh ")
	if !ok {
		return key
	}
	var limits struct{ ExpireOn string }
	if err := json.Unmarshal([]byte(comment), &limits); err != nil || limits.ExpireOn == "" {
		return key
	}
	expires, err := time.Parse("2006-01-02T15:04:05-0700", limits.ExpireOn)
	if err == nil && now.After(expires) {
		return ""
	}
	return key
}
