package osconfig

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"go.yaml.in/yaml/v3"
)

// setNode takes one number for both.
func (u *Ulimit) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind != yaml.ScalarNode {
		return d.decodeStruct(n, reflect.ValueOf(u).Elem(), key)
	}
	if !d.decode(n, reflect.ValueOf(&u.Soft).Elem(), key) {
		return false
	}
	u.Hard = u.Soft
	return true
}

// setNode takes a text for the context.
func (b *Build) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind != yaml.ScalarNode {
		return d.decodeStruct(n, reflect.ValueOf(b).Elem(), key)
	}
	return d.decode(n, reflect.ValueOf(&b.Context).Elem(), key)
}

// A BuildContext is what an image is made of: a directory, or the address of a
// repository or an archive.
type BuildContext string

func (c *BuildContext) setText(text string) error {
	if !path.IsAbs(text) && !strings.Contains(text, "://") && !strings.HasPrefix(text, "git@") {
		return errors.New("expected the absolute path of a directory, or an address such as https://host/repository.git")
	}
	*c = BuildContext(text)
	return nil
}

// IsDir reports whether it is a directory of this machine.
func (c BuildContext) IsDir() bool { return path.IsAbs(string(c)) }

// LabelSchedule makes a service start at times; see ParseSchedule.
const LabelSchedule = "cron.schedule"

// check looks at the label that makes a service start at times.
func (s *Service) check() (field, text string) {
	if schedule, has := s.Labels[LabelSchedule]; has {
		if _, err := ParseSchedule(schedule); err != nil {
			return "labels", LabelSchedule + ": expected five or six fields such as 0 30 4 * * *, or @daily"
		}
	}
	return "", ""
}

// ParseSchedule reads a schedule: minute, hour, day, month and weekday as in
// crontab(5), with or without seconds before them, or @daily and its like. One
// whose time never comes is an error.
func ParseSchedule(text string) (cron.Schedule, error) {
	s, err := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).Parse(text)
	if err == nil && s.Next(time.Unix(0, 0)).IsZero() {
		err = fmt.Errorf("%s: there is no such day", text)
	}
	return s, err
}

// A RestartPolicy says when a container starts again.
type RestartPolicy string

func (r *RestartPolicy) setText(text string) error {
	name, count, counted := strings.Cut(text, ":")
	_, isNumber := number(count, 0, 1<<31-1)
	if on, known := parseBool(text); known && !on {
		name = "no" // unquoted, YAML means false
	}
	switch name {
	case "no", "always", "unless-stopped", "on-failure":
		if !counted || name == "on-failure" && isNumber {
			*r = RestartPolicy(name)
			if counted {
				*r = RestartPolicy(text)
			}
			return nil
		}
	}
	return errors.New("expected no, always, unless-stopped or on-failure[:COUNT]")
}

// A PortList are ports in the notation of docker run -p, or of the Compose
// specification, which becomes the former.
type PortList []string

func (l *PortList) setNode(d *decoder, n *yaml.Node, key string) bool {
	return setItems(d, n, key, (*[]string)(l), portItem)
}

func portItem(d *decoder, n *yaml.Node, key string) (string, bool) {
	if n.Kind != yaml.MappingNode {
		text, ok := d.text(n, key, "a port")
		if ok && !isPort(text) {
			d.problem(n, key, "expected [[ADDRESS:]PORT:]PORT[/udp]; put it in quotes")
			return "", false
		}
		return text, ok
	}
	var long struct {
		Target      string   `yaml:"target"`
		Published   string   `yaml:"published"`
		HostIP      Address  `yaml:"host_ip"`
		Protocol    string   `yaml:"protocol"`
		Mode        Anything `yaml:"mode"`
		Name        Anything `yaml:"name"`
		AppProtocol Anything `yaml:"app_protocol"`
	}
	if !d.decodeStruct(n, reflect.ValueOf(&long).Elem(), key) {
		return "", false
	}
	text := long.Target
	if long.HostIP != "" {
		host := string(long.HostIP)
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		text = host + ":" + long.Published + ":" + text
	} else if long.Published != "" {
		text = long.Published + ":" + text
	}
	if long.Protocol != "" {
		text += "/" + long.Protocol
	}
	if !isPort(text) {
		d.problem(n, key, "expected a port under target, and one or none under published")
		return "", false
	}
	return text, true
}

// isPort reports whether a text is [[ADDRESS:]PORT:]PORT[/PROTOCOL], where a
// port may be a range.
func isPort(text string) bool {
	text, protocol, has := strings.Cut(text, "/")
	if has && protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return false
	}
	published, target := "", text
	if colon := strings.LastIndexByte(text, ':'); colon >= 0 {
		published, target = text[:colon], text[colon+1:]
	}
	if colon := strings.LastIndexByte(published, ':'); colon >= 0 {
		host := strings.TrimSuffix(strings.TrimPrefix(published[:colon], "["), "]")
		if new(Address).setText(host) != nil {
			return false
		}
		published = published[colon+1:]
	}
	return isPortRange(target) && (published == "" || isPortRange(published))
}

func isPortRange(text string) bool {
	first, last, ranged := strings.Cut(text, "-")
	low, ok := number(first, 1, 65535)
	if !ranged || !ok {
		return ok
	}
	_, ok = number(last, low, 65535)
	return ok
}

// A VolumeList are mounts in the notation of docker run -v, or of the Compose
// specification, which becomes the former.
type VolumeList []string

func (l *VolumeList) setNode(d *decoder, n *yaml.Node, key string) bool {
	return setItems(d, n, key, (*[]string)(l), volumeItem)
}

func volumeItem(d *decoder, n *yaml.Node, key string) (string, bool) {
	if n.Kind != yaml.MappingNode {
		text, ok := d.text(n, key, "a volume")
		if parts := strings.Split(text, ":"); ok && (len(parts) > 3 || len(parts) > 1 && !strings.HasPrefix(parts[1], "/")) {
			d.problem(n, key, "expected SOURCE:TARGET[:ro], with the absolute path of TARGET")
			return "", false
		}
		return text, ok
	}
	var long struct {
		Type     volumeType `yaml:"type"`
		Source   string     `yaml:"source"`
		Target   AbsPath    `yaml:"target"`
		ReadOnly bool       `yaml:"read_only"`
		Bind     struct {
			Propagation    string   `yaml:"propagation"`
			CreateHostPath Anything `yaml:"create_host_path"`
			SELinux        Anything `yaml:"selinux"`
		} `yaml:"bind"`
		Volume struct {
			NoCopy bool `yaml:"nocopy"`
		} `yaml:"volume"`
		Consistency Anything `yaml:"consistency"`
	}
	if !d.decodeStruct(n, reflect.ValueOf(&long).Elem(), key) {
		return "", false
	}
	if long.Target == "" || long.Type == "bind" && !strings.HasPrefix(long.Source, "/") {
		d.problem(n, key, "expected absolute paths under target and, for a bind mount, source")
		return "", false
	}
	text := string(long.Target)
	if long.Source != "" {
		text = long.Source + ":" + text
	}
	var options []string
	if long.ReadOnly {
		options = append(options, "ro")
	}
	if long.Bind.Propagation != "" {
		options = append(options, long.Bind.Propagation)
	}
	if long.Volume.NoCopy {
		options = append(options, "nocopy")
	}
	if len(options) > 0 {
		text += ":" + strings.Join(options, ",")
	}
	return text, true
}

// A volumeType is a kind of mount. RAM is not among them: it has tmpfs.
type volumeType string

func (volumeType) values() []string { return []string{"bind", "volume"} }

// setItems stores the items of a list that are right.
func setItems(d *decoder, n *yaml.Node, key string, to *[]string, item func(*decoder, *yaml.Node, string) (string, bool)) bool {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, key, "expected a list, found %s", kind(n))
		return false
	}
	list := make([]string, 0, len(n.Content))
	for i, c := range n.Content {
		at := fmt.Sprintf("%s[%d]", key, i)
		if !d.spend(c, at) {
			return false
		}
		if c = resolve(c); isNull(c) {
			continue
		}
		if text, ok := item(d, c, at); ok {
			list = append(list, text)
		}
	}
	*to = list
	return true
}

// A HealthTest is a command of a health check, as the engine takes it: CMD,
// CMD-SHELL or NONE comes first.
type HealthTest []string

func (h *HealthTest) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.ScalarNode {
		text, ok := d.text(n, key, "a command")
		if ok {
			*h = HealthTest{"CMD-SHELL", text}
		}
		return ok
	}
	words, ok := d.texts(n, key)
	if !ok {
		return false
	}
	if len(words) == 0 || words[0] != "CMD" && words[0] != "CMD-SHELL" && words[0] != "NONE" {
		d.problem(n, key, "expected CMD, CMD-SHELL or NONE as first item")
		return false
	}
	*h = words
	return true
}
