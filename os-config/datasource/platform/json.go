package platform

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// A scalar is a text or a number, whichever the platform gives today; what is
// neither, such as the [] in place of a text that is not set, is "".
type scalar string

// UnmarshalJSON implements json.Unmarshaler.
func (s *scalar) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		*s = scalar(text)
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(raw, &number); err == nil {
		*s = scalar(number)
	}
	return nil
}

// bytes returns nil for an empty text.
func (s scalar) bytes() []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// keys are public keys: a text with one per line, or a list of such texts.
type keys []string

// UnmarshalJSON implements json.Unmarshaler.
func (k *keys) UnmarshalJSON(raw []byte) error {
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return fmt.Errorf("public keys: %w", err)
		}
		list = []string{text}
	}
	for _, text := range list {
		*k = append(*k, datasource.Lines(text)...)
	}
	return nil
}

// decodeBase64 returns nil for an empty text.
func decodeBase64(text string) ([]byte, error) {
	text = strings.Join(strings.Fields(text), "")
	if text == "" {
		return nil, nil
	}
	return base64.StdEncoding.DecodeString(text)
}

// maybeBase64 decodes user data that its owner had to encode because the
// platform takes text only. What user data begins with ("#", "Content-Type:")
// is no base64.
func maybeBase64(data []byte) []byte {
	if plain, err := decodeBase64(string(data)); err == nil && plain != nil {
		return plain
	}
	return data
}
