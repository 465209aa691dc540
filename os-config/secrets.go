package osconfig

import (
	"cmp"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The types in this file hold what nobody may see by accident. They are the
// only mark of a secret: what has such a type is left out of logs, messages
// and exports, what has not is shown.

// hidden stands in the place of a secret.
const hidden = "(hidden)"

// redacted values have a form that everyone may see.
type redacted interface {
	redact() string
}

// A Secret is a text that no log, error or fmt verb shows.
type Secret string

func (s *Secret) setText(text string) error { *s = Secret(text); return nil }

func (s Secret) redact() string { return hidden }

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// Format hides the text from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalJSON hides the text from JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalYAML hides the text from YAML.
func (s Secret) MarshalYAML() (any, error) { return hidden, nil }

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// A Hash is a password as crypt(5) has it.
type Hash struct{ Secret }

func (h *Hash) setText(text string) error {
	// "!" and "*" are passwords that nothing matches.
	bare := strings.TrimLeft(text, "!*")
	if bare != "" && !isHash(bare) || text == "" {
		return errors.New("expected a hash such as $6$…, as openssl passwd -6 makes it; is it complete, and no $ lost to a shell?")
	}
	h.Secret = Secret(text)
	return nil
}

// isHash reports whether a text looks like crypt(5)'s "$id$…$hash".
func isHash(text string) bool {
	parts := strings.Split(text, "$")
	if len(parts) < 3 || parts[0] != "" || !madeOf(strings.ReplaceAll(text, "$", ""), "./,=+-") {
		return false
	}
	hash := parts[len(parts)-1]
	switch parts[1] {
	case "6":
		return len(parts) >= 4 && len(hash) == 86
	case "5":
		return len(parts) >= 4 && len(hash) == 43
	case "1":
		return len(parts) == 4 && len(hash) == 22
	case "2a", "2b", "2x", "2y":
		return len(parts) == 4 && len(hash) == 53
	case "y", "gy":
		return len(parts) == 5 && len(hash) == 43
	case "7":
		return len(hash) == 43
	}
	return false
}

// A PrivateKey is a key in PEM.
type PrivateKey struct{ Secret }

func (k *PrivateKey) setText(text string) error {
	block, _ := pem.Decode([]byte(text))
	if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return errors.New("expected a private key in PEM, -----BEGIN … PRIVATE KEY-----")
	}
	k.Secret = Secret(text)
	return nil
}

// A SecretList is a list of secrets; one alone is a list of one.
type SecretList []Secret

func (l *SecretList) setNode(d *decoder, n *yaml.Node, key string) bool {
	var list StringList
	if !list.setNode(d, n, key) {
		return false
	}
	*l = make(SecretList, len(list))
	for i, text := range list {
		(*l)[i] = Secret(text)
	}
	return true
}

// A Proxy is the address of a proxy, which may hold a password.
type Proxy string

func (p *Proxy) setText(text string) error {
	if text == "" {
		*p = ""
		return nil
	}
	full := text
	if !strings.Contains(text, "://") {
		full = "http://" + text
	}
	parsed, err := url.Parse(full)
	if err != nil || parsed.Host == "" {
		return errors.New("expected the address of a proxy such as http://proxy.example.org:3128")
	}
	switch parsed.Scheme {
	case "http", "https", "socks5", "socks5h":
		*p = Proxy(text)
		return nil
	}
	return errors.New("expected the address of a proxy that begins with http://, https:// or socks5://")
}

// Reveal returns the address with its password.
func (p Proxy) Reveal() string { return string(p) }

func (p Proxy) redact() string {
	rest := string(p)
	scheme, after, found := strings.Cut(rest, "://")
	if found {
		scheme, rest = scheme+"://", after
	} else {
		scheme = ""
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = hidden + rest[at:]
	}
	return scheme + rest
}

// Format hides the password from every verb of fmt.
func (p Proxy) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.redact()) }

// MarshalJSON hides the password from JSON.
func (p Proxy) MarshalJSON() ([]byte, error) { return []byte(fmt.Sprintf("%q", p.redact())), nil }

// MarshalYAML hides the password from YAML.
func (p Proxy) MarshalYAML() (any, error) { return p.redact(), nil }

// LogValue hides the password from slog.
func (p Proxy) LogValue() slog.Value { return slog.StringValue(p.redact()) }

// An AuthorizedKey is a line of authorized_keys, a public key or a certificate.
type AuthorizedKey string

func (k *AuthorizedKey) setText(text string) error {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "PRIVATE KEY") {
		return errors.New("this is a private key, which belongs on one machine only; use the public one, from the .pub file")
	}
	if strings.ContainsAny(text, "\n\r\x00") || !hasPublicKey(text) {
		return errors.New("expected a public key of SSH such as ssh-ed25519 AAAA…; is it complete?")
	}
	*k = AuthorizedKey(text)
	return nil
}

// A KeyList is a list of public keys. An item may hold a whole file, with
// comments and empty lines.
type KeyList []AuthorizedKey

func (l *KeyList) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, key, "expected a list, found %s", kind(n))
		return false
	}
	list := make(KeyList, 0, len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", key, i)
		item = resolve(item)
		if !d.spend(item, at) || isNull(item) {
			continue
		}
		text, ok := d.text(item, at, "a public key of SSH")
		if !ok {
			continue
		}
		var bad error
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			k, err := ParseAuthorizedKey(line)
			if err != nil {
				bad = cmp.Or(bad, err)
				continue
			}
			list = append(list, k)
		}
		if bad != nil {
			d.problem(item, at, "%v", bad)
		}
	}
	*l = list
	return true
}

// ParseAuthorizedKey checks a public key that comes from elsewhere.
func ParseAuthorizedKey(text string) (AuthorizedKey, error) {
	var k AuthorizedKey
	err := k.setText(text)
	return k, err
}

// hasPublicKey looks for a kind of key followed by a key of that kind, which
// names its kind itself (RFC 4253 §6.6). Before it there may be options,
// which may hold blanks in quotes.
func hasPublicKey(line string) bool {
	fields := strings.Fields(line)
	for i, kind := range fields[:max(0, len(fields)-1)] {
		if !strings.HasPrefix(kind, "ssh-") && !strings.HasPrefix(kind, "ecdsa-") && !strings.HasPrefix(kind, "sk-") {
			continue
		}
		blob, err := base64.StdEncoding.DecodeString(fields[i+1])
		if n := len(kind); err == nil && len(blob) > 4+n+4 && blob[3] == byte(n) && string(blob[4:4+n]) == kind &&
			(strings.Contains(kind, "-cert-") || wholeKey(blob)) {
			return true
		}
	}
	return false
}

// wholeKey reports whether a blob is a row of strings, each behind its length,
// as all keys but certificates are.
func wholeKey(blob []byte) bool {
	for len(blob) >= 4 {
		n := int(blob[0])<<24 | int(blob[1])<<16 | int(blob[2])<<8 | int(blob[3])
		if n > len(blob)-4 {
			return false
		}
		blob = blob[4+n:]
	}
	return len(blob) == 0
}

// A CertList is a list of certificates in PEM, or one text with several.
type CertList []string

func (l *CertList) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.ScalarNode {
		n = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{n}, Line: n.Line, Column: n.Column}
	}
	return setItems(d, n, key, (*[]string)(l), certItem)
}

func certItem(d *decoder, n *yaml.Node, key string) (string, bool) {
	text, ok := d.text(n, key, "certificates in PEM")
	if !ok {
		return "", false
	}
	if err := checkCertificates(text); err != nil {
		d.problem(n, key, "%v", err)
		return "", false
	}
	return text, true
}

func checkCertificates(text string) error {
	rest := []byte(text)
	for n := 0; ; n++ {
		block, after := pem.Decode(rest)
		switch {
		case block == nil && n > 0 && strings.TrimSpace(string(rest)) == "":
			return nil
		case block == nil:
			return errors.New("expected certificates in PEM, -----BEGIN CERTIFICATE-----")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return errors.New("there is a private key in it; use certificates only")
		}
		rest = after
	}
}
