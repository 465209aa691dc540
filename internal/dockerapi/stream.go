package dockerapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/moby/moby/api/types/jsonstream"
)

// streamError reads a progress stream to its end and returns the first error
// that the daemon reports in it.
func streamError(operation string, r io.Reader) error {
	dec := json.NewDecoder(r)
	for {
		var m jsonstream.Message
		switch err := dec.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: read the daemon's answer: %w", operation, err)
		case m.Error != nil:
			return fmt.Errorf("%s: %w", operation, m.Error)
		}
	}
}
