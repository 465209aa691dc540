package osconfig

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// textValue is a value that is written as one scalar and checks itself.
type textValue interface {
	setText(text string) error
}

// A Secret is a text that no log, error or fmt verb shows.
type Secret string

func (s *Secret) setText(text string) error { *s = Secret(text); return nil }

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// Format hides the text from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(hidden)") }

// MarshalJSON hides the text from JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"(hidden)"`), nil }

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue("(hidden)") }

// A Hostname is a host name, with or without domain.
type Hostname string

// hostname is RFC 1123 §2.1 plus underscores, which people use.
var hostname = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

func (h *Hostname) setText(text string) error {
	// 64 bytes is what sethostname(2) takes.
	if len(text) > 64 || !hostname.MatchString(text) {
		return errors.New("want a host name: letters, digits and hyphens, at most 64")
	}
	*h = Hostname(strings.TrimSuffix(text, "."))
	return nil
}

// ParseHostname checks a host name that comes from elsewhere.
func ParseHostname(text string) (Hostname, error) {
	var h Hostname
	err := h.setText(text)
	return h, err
}

// Short returns the name without its domain.
func (h Hostname) Short() string {
	short, _, _ := strings.Cut(string(h), ".")
	return short
}

// An AbsPath is a clean absolute path.
type AbsPath string

func (p *AbsPath) setText(text string) error {
	if !path.IsAbs(text) || strings.ContainsRune(text, 0) || path.Clean(text) == "/" {
		return errors.New("want the absolute path of a file")
	}
	*p = AbsPath(path.Clean(text))
	return nil
}

// A Mode is a file mode, written as an octal number with or without quotes.
type Mode fs.FileMode

func (m *Mode) setText(text string) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 12)
	if err != nil {
		return errors.New(`want octal permissions such as "0644"`)
	}
	*m = Mode(n)
	return nil
}

// A Port is a TCP port.
type Port uint16

func (p *Port) setText(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return errors.New("want a port number, 1 to 65535")
	}
	*p = Port(n)
	return nil
}

// An Address is an IP address.
type Address string

func (a *Address) setText(text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return errors.New("want an IP address")
	}
	*a = Address(addr.String())
	return nil
}

// An Encoding says how the content of a File is written.
type Encoding struct{ base64, gzip bool }

var encodings = map[string]Encoding{
	"":            {},
	"text/plain":  {},
	"b64":         {base64: true},
	"base64":      {base64: true},
	"gz":          {gzip: true},
	"gzip":        {gzip: true},
	"gz+b64":      {base64: true, gzip: true},
	"gz+base64":   {base64: true, gzip: true},
	"gzip+b64":    {base64: true, gzip: true},
	"gzip+base64": {base64: true, gzip: true},
}

func (e *Encoding) setText(text string) error {
	enc, ok := encodings[strings.ToLower(text)]
	if !ok {
		return fmt.Errorf("unknown encoding %.20q; want b64, gz or gz+b64", text)
	}
	*e = enc
	return nil
}

// MaxContent bounds what one compressed text may become, in bytes.
const MaxContent = 16 << 20

// Bytes returns the decoded content.
func (f File) Bytes() ([]byte, error) {
	data := []byte(f.Content)
	if f.Encoding.base64 {
		// People wrap base64 at will.
		text := strings.Join(strings.Fields(f.Content), "")
		var err error
		if data, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, fmt.Errorf("content of %s: %w", f.Path, err)
		}
	}
	if f.Encoding.gzip {
		plain, err := Gunzip(data)
		if err != nil {
			return nil, fmt.Errorf("content of %s: %w", f.Path, err)
		}
		data = plain
	}
	return data, nil
}

// Gunzip unpacks data, up to MaxContent bytes.
func Gunzip(data []byte) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(zr, MaxContent+1))
	if err != nil {
		return nil, err
	}
	if len(plain) > MaxContent {
		return nil, fmt.Errorf("more than %d MiB when unpacked", MaxContent>>20)
	}
	return plain, nil
}
