// Package spec translates services into what a Docker daemon makes containers
// from: services in Compose's notation, and declarations of OS services, which
// become such services first. It knows the notations only; which containers
// there should be is plan's to say.
package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

// Hash returns a short hash of everything in spec.
func Hash(spec dockerapi.Spec) (string, error) {
	// Maps are written in the order of their keys, so equal specs are equal text.
	text, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("hash container specification: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12]), nil
}

// stopTimeout is in whole seconds; nil is Docker's default of 10.
func stopTimeout(grace time.Duration) *int {
	if grace == 0 {
		return nil
	}
	seconds := int((grace + time.Second - 1) / time.Second)
	return &seconds
}

func tmpfs(list []string) map[string]string {
	mounts := make(map[string]string)
	for _, t := range list {
		target, options, _ := strings.Cut(t, ":")
		mounts[target] = options
	}
	return mounts
}

func deviceMappings(list []string) ([]container.DeviceMapping, error) {
	var devices []container.DeviceMapping
	for _, d := range list {
		parts := strings.Split(d, ":")
		m := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[0], CgroupPermissions: "rwm"}
		switch len(parts) {
		case 3:
			m.CgroupPermissions = parts[2]
			fallthrough
		case 2:
			m.PathInContainer = parts[1]
		case 1:
		default:
			return nil, fmt.Errorf("%q; want path[:path[:rwm]]", d)
		}
		devices = append(devices, m)
	}
	return devices, nil
}
