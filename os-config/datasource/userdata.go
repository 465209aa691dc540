package datasource

import (
	"bytes"
	"errors"
	"fmt"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// UserData is user data sorted by kind. At most one field is set.
type UserData struct {
	// Config is a cloud-config.
	Config []byte
	// Script is a program to run, beginning with "#!".
	Script []byte
}

// ErrKind means that user data is none of the kinds that are understood.
var ErrKind = errors.New(`want "#cloud-config", "#!" or "#compose" at the beginning of the first line`)

// ParseUserData tells by the first line what user data is. It may be packed
// with gzip. Empty user data is no error.
func ParseUserData(data []byte) (UserData, error) {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		plain, err := osconfig.Gunzip(data)
		if err != nil {
			return UserData{}, fmt.Errorf("unpack user data: %w", err)
		}
		data = plain
	}
	// A byte order mark and Windows line ends come from editors.
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	switch word := string(bytes.TrimSpace(first)); {
	case len(bytes.TrimSpace(data)) == 0:
		return UserData{}, nil
	case word == "#cloud-config":
		return UserData{Config: data}, nil
	case word == "#compose":
		return UserData{Config: compose(rest)}, nil
	case bytes.HasPrefix(first, []byte("#!")):
		return UserData{Script: data}, nil
	}
	return UserData{}, ErrKind
}

// compose turns a Compose file of version 1 into a cloud-config.
func compose(services []byte) []byte {
	var b bytes.Buffer
	b.WriteString("rancher:\n  services:\n")
	for line := range bytes.Lines(services) {
		b.WriteString("    ")
		b.Write(line)
	}
	return b.Bytes()
}
