// Package accounts works out which commands bring the console's accounts in
// line with the configuration: groups, users, passwords, sudo rules and keys.
// The console's account files are recreated with its container, at each boot.
// The package runs nothing.
package accounts

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// The account that people log in as; the image's declaration makes it. Docker
// Machine and boot2docker log in as the second.
const (
	Default = "rancher"
	Machine = "docker"
)

const (
	firstUser   = 1000
	firstGroup  = 1200
	firstSystem = 200
	// noPassword is what no password matches. Unlike "!" it does not lock the
	// account: keys work.
	noPassword = "*"
)

// A Plan is what to do, in the order of the fields.
type Plan struct {
	Commands [][]string
	Logins   []Login
	// Passwords are the accounts that get one.
	Passwords []Password
	// Sudoers is the text of a file for /etc/sudoers.d, empty for none.
	Sudoers string
	// Problems are what cannot be done.
	Problems []string
}

// A Login is an account that can have a home and keys.
type Login struct {
	Name, Home string
	IDs        IDs
	// MakeHome: create its home if there is none.
	MakeHome bool
	Keys     osconfig.KeyList
}

// A Password is the wanted password of an account.
type Password struct {
	Name string
	// Value is a hash or a clear text; empty for a random one.
	Value osconfig.Secret
	Hash  bool
}

// MakePlan returns the plan for a configuration.
func MakePlan(cfg osconfig.Config, db Database) Plan {
	p := planner{cfg: cfg, db: db, free: newPool(db)}
	for _, name := range []string{Default, Machine} {
		if ids, ok := db.Users[name]; ok {
			p.Logins = append(p.Logins, Login{Name: name, Home: path.Join(homes, name), IDs: ids, MakeHome: true, Keys: cfg.SSHAuthorizedKeys})
		}
	}
	for _, g := range cfg.Groups {
		p.group(string(g.Name), firstGroup)
	}
	for _, u := range cfg.Users {
		p.user(u)
	}
	for _, g := range cfg.Groups {
		for _, member := range g.Members {
			if !p.exists(string(member)) {
				p.problem("groups: %s: there is no account %s", g.Name, member)
				continue
			}
			p.run("/usr/sbin/usermod", "--append", "--groups", string(g.Name), string(member))
		}
	}
	p.passwords()
	return p.Plan
}

// Since returns what remains of a plan on a machine on which earlier plans
// have been carried out, maybe in part. Passwords that are the same in all are
// not set again: somebody may have changed one by hand, and random ones stay.
// Keys and passwords that an earlier plan gave an account and this one does not
// are taken back; the account itself stays.
func (p Plan) Since(before ...Plan) Plan {
	p.Commands, p.Logins = slices.Clone(p.Commands), slices.Clone(p.Logins)
	wanted := p.Passwords
	for _, b := range before {
		for _, old := range b.Passwords {
			if !slices.ContainsFunc(wanted, func(n Password) bool { return n.Name == old.Name }) {
				p.Commands = append(p.Commands, []string{"/usr/sbin/usermod", "--password", noPassword, old.Name})
			}
		}
		for _, old := range b.Logins {
			if !slices.ContainsFunc(p.Logins, func(n Login) bool { return n.Name == old.Name }) {
				old.Keys = nil
				p.Logins = append(p.Logins, old)
			}
		}
	}
	p.Passwords = nil
	for _, n := range wanted {
		if slices.ContainsFunc(before, func(b Plan) bool { return !slices.Contains(b.Passwords, n) }) {
			p.Passwords = append(p.Passwords, n)
			continue
		}
		for i := range p.Commands {
			p.Commands[i] = withoutLock(p.Commands[i], n.Name)
		}
	}
	// Without an option there is nothing left to do.
	p.Commands = slices.DeleteFunc(p.Commands, func(argv []string) bool { return len(argv) < 3 })
	return p
}

// withoutLock returns a command that leaves the account's password alone.
func withoutLock(argv []string, name string) []string {
	i := slices.Index(argv, "--password")
	if i < 0 || argv[len(argv)-1] != name {
		return argv
	}
	return slices.Delete(slices.Clone(argv), i, i+2)
}

// Homes returns the homes that the configuration names.
func Homes(cfg osconfig.Config) []string {
	var dirs []string
	for _, u := range cfg.Users {
		if u.HomeDir != "" {
			dirs = append(dirs, string(u.HomeDir))
		}
	}
	return dirs
}

// PasswordLogin reports whether SSH lets passwords in.
func PasswordLogin(cfg osconfig.Config, p Plan) bool {
	if slices.Contains(cfg.Rancher.Disable, "password") {
		return false
	}
	return cfg.SSHPasswordAuth.Or(len(p.Passwords) > 0)
}

type planner struct {
	Plan
	cfg  osconfig.Config
	db   Database
	free pool
}

func (p *planner) problem(format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}

func (p *planner) run(argv ...string) { p.Commands = append(p.Commands, argv) }

func (p *planner) exists(user string) bool {
	_, ok := p.db.Users[user]
	return ok
}

// group makes a group if there is none, and returns its number.
func (p *planner) group(name string, low int) int {
	if gid, ok := p.db.Groups[name]; ok {
		return gid
	}
	gid := p.free.take(low)
	p.run("/usr/sbin/groupadd", "--gid", fmt.Sprint(gid), name)
	p.db.Groups[name] = gid
	return gid
}

// user makes or changes one account.
func (p *planner) user(u osconfig.User) {
	name := string(u.Name)
	own := name == Default || u.IsDefault()
	if own {
		name = Default
		if u.UID != "" || u.HomeDir != "" || u.PrimaryGroup != "" {
			p.problem("users: %s keeps its number, home and group", name)
		}
	}
	if name == "root" {
		p.problem("users: root has neither password nor keys; use sudo")
		return
	}
	options := p.options(u, own)
	ids, there := p.db.Users[name]
	if there {
		if len(options) > 0 {
			p.run(append(append([]string{"/usr/sbin/usermod"}, options...), name)...)
		}
	} else {
		ids = p.newIDs(u)
		home := p.home(u)
		p.run(append(append([]string{"/usr/sbin/useradd", "--uid", fmt.Sprint(ids.UID), "--gid", fmt.Sprint(ids.GID),
			"--no-user-group", "--no-create-home", "--home-dir", home}, options...), name)...)
		p.db.Users[name] = ids
	}
	for _, rule := range u.Sudo {
		p.Sudoers += name + " " + rule + "\n"
	}
	if !u.LockPasswd && u.PlainTextPasswd != "" {
		p.password(name, u.PlainTextPasswd, false)
	}
	if own {
		p.Logins[0].Keys = append(slices.Clone(p.Logins[0].Keys), u.SSHAuthorizedKeys...)
		return
	}
	login := Login{Name: name, Home: p.home(u), IDs: ids, MakeHome: !u.System && !u.NoCreateHome, Keys: u.SSHAuthorizedKeys}
	if len(login.Keys) > 0 && !login.MakeHome {
		p.problem("users: %s has keys but no home to put them into", name)
		return
	}
	if login.MakeHome {
		p.Logins = append(p.Logins, login)
	}
}

func (p *planner) home(u osconfig.User) string {
	return cmp.Or(string(u.HomeDir), path.Join(homes, string(u.Name)))
}

// newIDs finds numbers for a new account. One that has a home already keeps
// the number that its files have.
func (p *planner) newIDs(u osconfig.User) IDs {
	var ids IDs
	owner, hasHome := p.db.Owners[p.home(u)]
	number, given := u.UID.Number()
	switch {
	case given:
		ids.UID = number
	case hasHome && owner >= firstSystem:
		ids.UID = owner
	case u.System:
		ids.UID = p.free.take(firstSystem)
	default:
		ids.UID = p.free.take(firstUser)
	}
	p.free[ids.UID] = true
	switch {
	case u.PrimaryGroup != "":
		ids.GID = p.group(string(u.PrimaryGroup), firstGroup)
	case u.NoUserGroup:
		ids.GID = p.group("users", firstGroup)
	default:
		ids.GID = p.ownGroup(string(u.Name), ids.UID)
	}
	return ids
}

// ownGroup returns the group with the name of an account, and its number if
// no other group has that.
func (p *planner) ownGroup(name string, uid int) int {
	if gid, ok := p.db.Groups[name]; ok {
		return gid
	}
	for _, gid := range p.db.Groups {
		if gid == uid {
			return p.group(name, firstGroup)
		}
	}
	p.run("/usr/sbin/groupadd", "--gid", fmt.Sprint(uid), name)
	p.db.Groups[name] = uid
	return uid
}

// options returns what useradd and usermod have in common. The system's own
// account keeps what the entry does not mention.
func (p *planner) options(u osconfig.User, own bool) []string {
	var options []string
	add := func(option, value string) { options = append(options, option, value) }
	if u.Gecos != "" {
		add("--comment", u.Gecos)
	}
	switch {
	case u.Shell != "":
		add("--shell", string(u.Shell))
	case own:
	case u.System:
		add("--shell", "/usr/sbin/nologin")
	default:
		add("--shell", "/bin/bash")
	}
	var groups []string
	for _, g := range u.Groups {
		p.group(string(g), firstGroup)
		groups = append(groups, string(g))
	}
	if len(groups) > 0 {
		if own || p.exists(string(u.Name)) {
			options = append(options, "--append")
		}
		add("--groups", strings.Join(groups, ","))
	}
	if u.ExpireDate != "" {
		add("--expiredate", string(u.ExpireDate))
	}
	if u.Inactive != "" {
		add("--inactive", u.Inactive)
	}
	name := string(u.Name)
	if own {
		name = Default
	}
	hash := cmp.Or(u.HashedPasswd.Secret, u.Passwd.Secret)
	switch {
	case u.LockPasswd, hash == "" && !own:
		add("--password", noPassword)
	case hash != "":
		p.password(name, hash, true)
	}
	return options
}

// password notes an account's password; the last one counts.
func (p *planner) password(name string, value osconfig.Secret, hash bool) {
	p.Passwords = slices.DeleteFunc(p.Passwords, func(o Password) bool { return o.Name == name })
	p.Passwords = append(p.Passwords, Password{name, value, hash})
}

// passwords adds those that are not part of an entry of users.
func (p *planner) passwords() {
	if slices.Contains(p.cfg.Rancher.Disable, "password") {
		p.Passwords = nil
		return
	}
	for _, secret := range []osconfig.Secret{p.cfg.Password, p.cfg.Rancher.Password} {
		if secret != "" {
			p.password(Default, secret, isCrypt(secret.Reveal()))
		}
	}
	for _, list := range [][]osconfig.NamedPassword{p.cfg.Chpasswd.List, p.cfg.Chpasswd.Users} {
		for _, entry := range list {
			name := string(entry.Name)
			switch {
			case !p.exists(name):
				p.problem("chpasswd: there is no account %s", name)
			case entry.Type == "RANDOM":
				p.password(name, "", false)
			case entry.Password == "":
				p.problem("chpasswd: %s: password is missing", name)
			default:
				p.password(name, entry.Password, entry.Type == "hash")
			}
		}
	}
	p.Passwords = slices.DeleteFunc(p.Passwords, func(o Password) bool {
		bad := strings.ContainsAny(o.Value.Reveal(), "\n\r\x00")
		if bad {
			p.problem("password of %s: line ends cannot be part of a password", o.Name)
		}
		return bad
	})
}

// isCrypt tells a crypt(5) hash such as $y$… or $6$… from a password.
func isCrypt(password string) bool {
	return strings.HasPrefix(password, "$") && strings.Count(password, "$") >= 3 && len(password) > 20
}
