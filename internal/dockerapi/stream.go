package dockerapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/moby/api/types/jsonstream"
)

// readStream reads a progress stream to its end and returns the lines of text
// in it, or the first error that the daemon reports.
func readStream(operation string, r io.Reader) (lines []string, err error) {
	dec := json.NewDecoder(r)
	for {
		var m jsonstream.Message
		switch err := dec.Decode(&m); {
		case errors.Is(err, io.EOF):
			return lines, nil
		case err != nil:
			return lines, fmt.Errorf("%s: read the daemon's answer: %w", operation, err)
		case m.Error != nil:
			return lines, fmt.Errorf("%s: %w", operation, m.Error)
		case m.Stream != "":
			lines = append(lines, strings.TrimSpace(m.Stream))
		}
	}
}
