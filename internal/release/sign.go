package release

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"aead.dev/minisign"
)

// Errors about a signature.
var (
	// ErrUnsigned says that nobody vouches for a release: it has no signature,
	// or one of a key that the machine does not know.
	ErrUnsigned = errors.New("no key that this machine knows has signed it")
	// ErrTampered says that a release is not as it was signed.
	ErrTampered = errors.New("it is not as it was signed")
)

// Sign signs a manifest. The same text and key always give the same signature.
func Sign(m Manifest, text []byte, key minisign.PrivateKey) []byte {
	trusted := fmt.Sprintf("version:%s serial:%d", m.Version, m.Serial)
	return minisign.SignWithComments(key, text, trusted, "signature of a Bulkhead release")
}

// Keys are those that releases are signed with: usually one, and two while one
// takes over from the other.
type Keys []minisign.PublicKey

// ParseKeys reads public keys, one a line, as minisign(1) writes them: lines
// that say untrusted comment are none.
func ParseKeys(text []byte) (Keys, error) {
	var keys Keys
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "untrusted comment:") {
			continue
		}
		var key minisign.PublicKey
		if err := key.UnmarshalText([]byte(line)); err != nil {
			return nil, fmt.Errorf("key of releases %q: %w", line, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Check checks the signature of a manifest, which is empty if there is none.
func (k Keys) Check(text, signature []byte) error {
	if len(bytes.TrimSpace(signature)) == 0 {
		return fmt.Errorf("%w: it has no signature", ErrUnsigned)
	}
	var s minisign.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return fmt.Errorf("%w: its signature cannot be read: %w", ErrTampered, err)
	}
	for _, key := range k {
		if key.ID() != s.KeyID {
			continue
		}
		if !minisign.Verify(key, text, signature) {
			return ErrTampered
		}
		return nil
	}
	return fmt.Errorf("%w: its key has the ID %X", ErrUnsigned, s.KeyID)
}

// PrivateKey reads a secret key, as minisign(1) writes it with -W.
func PrivateKey(text []byte) (minisign.PrivateKey, error) {
	var key minisign.PrivateKey
	if minisign.IsEncrypted(text) {
		return key, errors.New("the key has a password: make one without (minisign -G -W), and keep its file safe")
	}
	return key, key.UnmarshalText(text)
}
