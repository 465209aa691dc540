package layer

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/iso/tree"
)

// Debian's static accounts and groups, and those that udev's rules and several
// packages expect under fixed ids here.
var (
	//go:embed passwd
	basePasswd string
	//go:embed group
	baseGroup string
)

// Accounts are the four account files of one image.
type Accounts struct {
	Passwd, Group, Shadow, Gshadow string
}

// MakeAccounts returns the base accounts plus the given users, each with a
// group of its own. No account has a password.
func MakeAccounts(users []images.User) (Accounts, error) {
	passwd, groups := lines(basePasswd), lines(baseGroup)
	for _, u := range users {
		home, shell := u.Home, u.Shell
		if home == "" {
			home = "/nonexistent"
		}
		if shell == "" {
			shell = "/usr/sbin/nologin"
		}
		if u.Group != "" {
			i := indexName(groups, u.Group)
			if i < 0 {
				return Accounts{}, fmt.Errorf("user %s: no group %s", u.Name, u.Group)
			}
			gid := strings.Split(groups[i], ":")[2]
			passwd = append(passwd, fmt.Sprintf("%s:x:%d:%s::%s:%s", u.Name, u.ID, gid, home, shell))
			continue
		}
		passwd = append(passwd, fmt.Sprintf("%s:x:%d:%d::%s:%s", u.Name, u.ID, u.ID, home, shell))
		if i := indexName(groups, u.Name); i < 0 {
			groups = append(groups, fmt.Sprintf("%s:x:%d:", u.Name, u.ID))
		} else if !strings.HasPrefix(groups[i], fmt.Sprintf("%s:x:%d:", u.Name, u.ID)) {
			return Accounts{}, fmt.Errorf("user %s has id %d, but there is the group %s", u.Name, u.ID, groups[i])
		}
	}
	for _, u := range users {
		for _, g := range u.Groups {
			i := indexName(groups, g)
			if i < 0 {
				return Accounts{}, fmt.Errorf("user %s: no group %s", u.Name, g)
			}
			if !strings.HasSuffix(groups[i], ":") {
				groups[i] += ","
			}
			groups[i] += u.Name
		}
	}
	if err := checkUnique(passwd); err != nil {
		return Accounts{}, fmt.Errorf("passwd: %w", err)
	}
	if err := checkUnique(groups); err != nil {
		return Accounts{}, fmt.Errorf("group: %w", err)
	}
	var a Accounts
	for _, l := range passwd {
		name, _, _ := strings.Cut(l, ":")
		a.Passwd += l + "\n"
		// 20309 is tree.Epoch in days: "changed" must not be 0, which forces a new password.
		a.Shadow += fmt.Sprintf("%s:*:%d:0:99999:7:::\n", name, tree.Epoch.Unix()/86400)
	}
	for _, l := range groups {
		name, _, _ := strings.Cut(l, ":")
		members := l[strings.LastIndex(l, ":")+1:]
		a.Group += l + "\n"
		a.Gshadow += fmt.Sprintf("%s:*::%s\n", name, members)
	}
	return a, nil
}

// Put writes the files below etc.
func (a Accounts) Put(t *tree.Tree) error {
	const shadowGroup = 42
	for _, f := range []struct {
		name, text string
		mode       int64
		gid        int
	}{
		{"passwd", a.Passwd, 0o644, 0},
		{"group", a.Group, 0o644, 0},
		{"shadow", a.Shadow, 0o640, shadowGroup},
		{"gshadow", a.Gshadow, 0o640, shadowGroup},
	} {
		n := &tree.Node{Type: '0', Mode: f.mode, GID: f.gid, Content: tree.Bytes(f.text)}
		if err := t.Put("etc/"+f.name, n); err != nil {
			return err
		}
	}
	return nil
}

func indexName(entries []string, name string) int {
	return slices.IndexFunc(entries, func(l string) bool { return strings.HasPrefix(l, name+":") })
}

// checkUnique finds names and ids that are there twice.
func checkUnique(entries []string) error {
	seen := make(map[string]string)
	for _, l := range entries {
		f := strings.Split(l, ":")
		for _, key := range []string{f[0], "id " + f[2]} {
			if other, ok := seen[key]; ok {
				return fmt.Errorf("%s is there twice: %s and %s", key, other, l)
			}
			seen[key] = l
		}
	}
	return nil
}

// lines returns the non-empty lines of a data file without comments.
func lines(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	return out
}
