package osconfig

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// A textValue is written as one scalar and checks itself. Its errors say what
// is wanted and never repeat the text, which may be a misplaced password.
type textValue interface {
	setText(text string) error
}

// An enumerated text is one of a few words.
type enumerated interface {
	values() []string
}

// parseBool knows YAML 1.1's words, which RancherOS took.
func parseBool(text string) (on, known bool) {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "y":
		return true, true
	case "false", "no", "off", "n":
		return false, true
	}
	return false, false
}

// parseSwitch knows the numbers, too, that cloud-init takes for true and false.
func parseSwitch(text string) (on, known bool) {
	if text == "1" || text == "0" {
		return text == "1", true
	}
	return parseBool(text)
}

// madeOf reports whether a text has at least one byte and all of them are
// letters, digits or among extra.
func madeOf(text, extra string) bool {
	for i := range len(text) {
		c := text[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(extra, c) >= 0) {
			return false
		}
	}
	return text != ""
}

// number parses a whole number within bounds.
func number(text string, low, high int) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && low <= n && n <= high
}

// An AbsPath is a clean absolute path.
type AbsPath string

func (p *AbsPath) setText(text string) error {
	if !path.IsAbs(text) || strings.ContainsRune(text, 0) || path.Clean(text) == "/" {
		return errors.New("expected the absolute path of a file")
	}
	*p = AbsPath(path.Clean(text))
	return nil
}

// A SigningKey is a public key of minisign(1), as the second line of its file
// has it: in base64 the letters "Ed", the key's number and an Ed25519 key.
type SigningKey string

func (k *SigningKey) setText(text string) error {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 2+8+32 || string(raw[:2]) != "Ed" {
		return errors.New("expected a public key of minisign, which begins with RW")
	}
	*k = SigningKey(text)
	return nil
}

// A Mode is a file mode, written as an octal number with or without quotes.
type Mode fs.FileMode

func (m *Mode) setText(text string) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 12)
	if err != nil {
		return errors.New(`expected octal permissions such as "0644"`)
	}
	*m = Mode(n)
	return nil
}

// String returns four octal digits.
func (m Mode) String() string { return fmt.Sprintf("%04o", uint16(m)) }

// An Owner is "user", "user:group" or numbers instead of names.
type Owner string

func (o *Owner) setText(text string) error {
	user, group, both := strings.Cut(text, ":")
	if !isUserName(user) && !madeOf(user, "") || both && !isUserName(group) && !madeOf(group, "") {
		return errors.New("expected USER or USER:GROUP")
	}
	*o = Owner(text)
	return nil
}

// A UserName names a user or a group.
type UserName string

func (u *UserName) setText(text string) error {
	if !isUserName(text) {
		return errors.New("expected a name of letters, digits, hyphens and underscores, at most 32, that begins with a letter")
	}
	*u = UserName(text)
	return nil
}

func isUserName(text string) bool {
	return len(text) <= 32 && madeOf(text, "_.-") && (text[0] == '_' || text[0] >= 'A')
}

// A UserID is the number of a user; empty when not given.
type UserID string

func (u *UserID) setText(text string) error {
	if _, ok := number(text, 0, 1<<31-1); !ok {
		return errors.New("expected the number of a user")
	}
	*u = UserID(text)
	return nil
}

// Number returns the number, and whether there is one.
func (u UserID) Number() (int, bool) { return number(string(u), 0, 1<<31-1) }

// A Date is a day, "2006-01-02".
type Date string

func (d *Date) setText(text string) error {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return errors.New("expected a day such as 2030-12-31")
	}
	*d = Date(text)
	return nil
}

// A Toggle is true, false, or not given.
type Toggle string

func (t *Toggle) setText(text string) error {
	on, known := parseSwitch(text)
	switch {
	case known:
		*t = Toggle(strconv.FormatBool(on))
	case text == "unchanged":
		*t = ""
	default:
		return errors.New("expected true, false or unchanged")
	}
	return nil
}

// Or returns the value, or what counts when none is given.
func (t Toggle) Or(fallback bool) bool {
	if t == "" {
		return fallback
	}
	return t == "true"
}

// EtcHosts says what happens to /etc/hosts: "true", "false", or empty.
type EtcHosts string

func (e *EtcHosts) setText(text string) error {
	on, known := parseBool(text)
	if !known && text != "localhost" && text != "template" {
		return errors.New("expected true, false or localhost")
	}
	*e = EtcHosts(strconv.FormatBool(on || !known))
	return nil
}

// ResizeRootFS is "true", "false", "noblock", or empty.
type ResizeRootFS string

func (r *ResizeRootFS) setText(text string) error {
	on, known := parseBool(text)
	if !known && text != "noblock" {
		return errors.New("expected true, false or noblock")
	}
	*r = ResizeRootFS(text)
	if known {
		*r = ResizeRootFS(strconv.FormatBool(on))
	}
	return nil
}

// A GrowMode is "auto", "off", or empty.
type GrowMode string

func (g *GrowMode) setText(text string) error {
	switch text {
	case "auto", "growpart", "gpart":
		*g = "auto"
	case "off", "false", "no":
		*g = "off"
	default:
		return errors.New("expected auto, growpart or off")
	}
	return nil
}

// A Port is a TCP port.
type Port uint16

func (p *Port) setText(text string) error {
	n, ok := number(text, 1, 65535)
	if !ok {
		return errors.New("expected a port number, 1 to 65535")
	}
	*p = Port(n)
	return nil
}

// A ShutdownTimeout is a number of seconds, 0 for none.
type ShutdownTimeout int

func (s *ShutdownTimeout) setText(text string) error {
	n, ok := number(text, 0, 86400)
	if !ok || n > 0 && n < 5 {
		return errors.New("expected 0, or a number of seconds from 5")
	}
	*s = ShutdownTimeout(n)
	return nil
}

// A Signed number may be below zero.
type Signed int

func (s *Signed) setText(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("expected a whole number")
	}
	*s = Signed(n)
	return nil
}

// A Decimal is a number with or without decimals, as it was written.
type Decimal string

func (d *Decimal) setText(text string) error {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n < 1e9) {
		return errors.New("expected a number such as 1.5")
	}
	*d = Decimal(text)
	return nil
}

// A Duration is a time span, written "1m30s" or as a number of seconds.
type Duration time.Duration

func (d *Duration) setText(text string) error {
	if n, ok := number(text, 0, 1<<31-1); ok {
		*d = Duration(time.Duration(n) * time.Second)
		return nil
	}
	span, err := time.ParseDuration(text)
	if err != nil || span < 0 {
		return errors.New("expected a time span such as 1m30s")
	}
	*d = Duration(span)
	return nil
}

// String returns the notation of package time.
func (d Duration) String() string { return time.Duration(d).String() }

// A Size is a number of bytes as it was written: "512M", "2 GB", "auto".
type Size string

func (s *Size) setText(text string) error {
	if _, ok := parseSize(text); !ok && text != "auto" && text != "-1" {
		return errors.New("expected a size such as 512M or 2G")
	}
	*s = Size(text)
	return nil
}

// Bytes returns the number: 0 for "auto" and when none is given, -1 for any.
func (s Size) Bytes() int64 {
	if s == "-1" {
		return -1
	}
	n, _ := parseSize(string(s))
	return n
}

func parseSize(text string) (int64, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	text = strings.TrimSuffix(strings.TrimSuffix(text, "b"), "i")
	shift := 0
	for i, unit := range []string{"k", "m", "g", "t"} {
		if rest, found := strings.CutSuffix(text, unit); found {
			text, shift = strings.TrimSpace(rest), 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n*float64(int64(1)<<shift) < 1<<62) {
		return 0, false
	}
	return int64(n * float64(int64(1)<<shift)), true
}

// A Weight is a relative share of a resource: cpu.weight and io.weight of
// cgroup v2, 1 to 10000.
type Weight int

func (w *Weight) setText(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 10000 {
		return errors.New("want a number from 1 to 10000")
	}
	*w = Weight(n)
	return nil
}

// A Share is a size, or a part of the memory in percent: "2G", "75%".
type Share string

func (s *Share) setText(text string) error {
	percent, isPart := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(percent)
	_, isSize := parseSize(text)
	if isPart && (err != nil || n < 1 || n > 100) || !isPart && !isSize {
		return errors.New("want a size such as 2G, or a part of the memory such as 75%")
	}
	*s = Share(text)
	return nil
}

// Mount returns the notation of mount options (tmpfs(5)).
func (s Share) Mount() string {
	if strings.HasSuffix(string(s), "%") {
		return string(s)
	}
	n, _ := parseSize(string(s))
	return strconv.FormatInt(n, 10)
}

// A Timezone is a name of the time zone database.
type Timezone string

func (t *Timezone) setText(text string) error {
	for part := range strings.SplitSeq(text, "/") {
		if len(text) > 64 || !madeOf(part, "_+-") {
			return errors.New("expected a time zone such as Europe/Berlin")
		}
	}
	*t = Timezone(text)
	return nil
}

// A Module is the name of a kernel module, with parameters behind it.
type Module string

func (m *Module) setText(text string) error {
	name, _, _ := strings.Cut(text, " ")
	if !madeOf(name, "_-") {
		return errors.New("expected the name of a kernel module, with parameters behind it")
	}
	*m = Module(text)
	return nil
}

// Sysctls are kernel settings by name.
type Sysctls map[string]string

func (Sysctls) checkKey(name string) error {
	if !madeOf(name, "._-/*@:") || strings.Contains(name, "..") || strings.ContainsAny(name[:1], "./") {
		return errors.New("expected the name of a kernel setting such as net.ipv4.ip_forward")
	}
	return nil
}

// A Device is a block device: /dev/…, LABEL=…, UUID=…, a name in /dev, or one
// of cloud-init's names (ephemeral0).
type Device string

func (d *Device) setText(text string) error {
	tag, value, tagged := strings.Cut(text, "=")
	good := false
	switch {
	case text == "":
		good = true // "none", as in rancher.state.dev=
	case strings.ContainsAny(text, "\x00\n"):
	case tagged:
		switch tag {
		case "LABEL", "UUID", "PARTLABEL", "PARTUUID":
			good = value != ""
		}
	default:
		good = madeOf(strings.TrimPrefix(text, "/dev/"), "/._:+-@") && !strings.Contains(text, "..") &&
			(text[0] != '/' || strings.HasPrefix(text, "/dev/"))
	}
	if !good {
		return errors.New("expected a device: /dev/…, LABEL=… or UUID=…")
	}
	*d = Device(text)
	return nil
}

// DiskSetups are partition tables by device.
type DiskSetups map[string]DiskSetup

func (DiskSetups) checkKey(name string) error { return new(Device).setText(name) }

// MountOptions are options of mount(8) with commas between them.
type MountOptions string

func (o *MountOptions) setText(text string) error {
	for option := range strings.SplitSeq(text, ",") {
		if option == "" && text != "" || strings.ContainsAny(option, " \t\n\x00") {
			return errors.New("expected options of mount with commas between them and no blanks")
		}
	}
	*o = MountOptions(text)
	return nil
}

// An FSType is the name of a kind of file system.
type FSType string

func (f *FSType) setText(text string) error {
	if !madeOf(text, "._-") {
		return errors.New("expected a kind of file system such as ext4")
	}
	*f = FSType(text)
	return nil
}

// An FSPartition is "auto", "any", "none" or a number.
type FSPartition string

func (p *FSPartition) setText(text string) error {
	if _, ok := number(text, 1, 255); !ok && text != "auto" && text != "any" && text != "none" {
		return errors.New("expected the number of a partition, auto, any or none")
	}
	*p = FSPartition(text)
	return nil
}

// A PowerDelay is "now" or a number of minutes.
type PowerDelay string

func (p *PowerDelay) setText(text string) error {
	if _, ok := number(strings.TrimPrefix(text, "+"), 0, 1<<20); !ok && text != "now" {
		return errors.New("expected now, or minutes such as +5")
	}
	*p = PowerDelay(text)
	return nil
}

// Minutes returns how long to wait.
func (p PowerDelay) Minutes() int {
	n, _ := number(strings.TrimPrefix(string(p), "+"), 0, 1<<20)
	return n
}

// A PowerMode is how a machine ends; empty when it does not.
type PowerMode string

func (PowerMode) values() []string { return []string{"poweroff", "reboot", "halt"} }

// A PasswordType says what a password is.
type PasswordType string

func (PasswordType) values() []string { return []string{"hash", "text", "RANDOM"} }

// A TableType is a kind of partition table.
type TableType string

func (TableType) values() []string { return []string{"gpt", "mbr"} }

// A HostKeyType is a kind of SSH key.
type HostKeyType string

func (HostKeyType) values() []string { return []string{"rsa", "ecdsa", "ed25519"} }

// A LoginWay is a way to log in.
type LoginWay string

func (LoginWay) values() []string { return []string{"password", "autologin"} }

// An UpgradePolicy says what to do about a new version without being asked.
type UpgradePolicy string

func (UpgradePolicy) values() []string { return []string{"none", "download", "auto"} }

// An Encoding says how the content of a File is written.
type Encoding struct{ base64, gzip bool }

func (e *Encoding) setText(text string) error {
	switch strings.ToLower(text) {
	case "", "text/plain":
		*e = Encoding{}
	case "b64", "base64":
		*e = Encoding{base64: true}
	case "gz", "gzip":
		*e = Encoding{gzip: true}
	case "gz+b64", "gz+base64", "gzip+b64", "gzip+base64":
		*e = Encoding{base64: true, gzip: true}
	default:
		return errors.New("expected b64, gz or gz+b64")
	}
	return nil
}

// String returns the notation in a configuration.
func (e Encoding) String() string {
	switch e {
	case Encoding{base64: true}:
		return "b64"
	case Encoding{gzip: true}:
		return "gz"
	case Encoding{base64: true, gzip: true}:
		return "gz+b64"
	}
	return "text/plain"
}

// MaxContent bounds what one compressed text may become, in bytes.
const MaxContent = 16 << 20

// Bytes returns the decoded content.
func (f File) Bytes() ([]byte, error) {
	data, err := f.packed()
	if err == nil && f.Encoding.gzip {
		data, err = Gunzip(data)
	}
	if err != nil {
		return nil, fmt.Errorf("content of %s: %w", f.Path, err)
	}
	return data, nil
}

// packed returns the content before it is unpacked.
func (f File) packed() ([]byte, error) {
	if !f.Encoding.base64 {
		return []byte(f.Content), nil
	}
	// People wrap base64 at will.
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(f.Content), ""))
}

// check refuses content that is not in its encoding.
func (f *File) check() (field, text string) {
	if f.Encoding == (Encoding{}) {
		return "", ""
	}
	data, err := f.packed()
	switch {
	case err != nil:
		return "content", "not valid base64, which encoding asks for"
	case f.Encoding.gzip && !bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		return "content", "not packed with gzip, which encoding asks for"
	}
	return "", ""
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
