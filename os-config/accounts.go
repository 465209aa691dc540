package osconfig

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A User is an account to make or change.
type User struct {
	// Name to log in with.
	Name UserName `yaml:"name" required:"true" eg:"anna"`
	// Full name.
	Gecos string `yaml:"gecos" eg:"Anna Example"`
	// Number; else the next free one.
	UID UserID `yaml:"uid" eg:"2000"`
	// Groups it belongs to.
	Groups NameList `yaml:"groups" eg:"[docker, sudo]"`
	// Its own group; else one with the name of the user.
	PrimaryGroup UserName `yaml:"primary_group" alias:"primary-group" eg:"users"`
	// Make the groups in `groups` that are not there.
	CreateGroups Anything `yaml:"create_groups" alias:"create-groups" instead:"they are always made"`
	// Make no group with the name of the user.
	NoUserGroup bool `yaml:"no_user_group" alias:"no-user-group" eg:"true"`
	// What it may do with sudo, in the notation of sudoers(5).
	Sudo Sudo `yaml:"sudo" eg:"ALL=(ALL) NOPASSWD:ALL"`
	// Hash of its password, as `openssl passwd -6` or mkpasswd makes it.
	Passwd Hash `yaml:"passwd" eg:"$6$bulkhead$DuApHLe9WNL3CY0mb1ldTzDHcD1jKoHqFpVSGpmGUvV8sijlgEiCL0Papyff6QALQCiXLAwKrAeqbUw0eHjam0"`
	// The same; also sets it for an account that exists.
	HashedPasswd Hash `yaml:"hashed_passwd" alias:"hashed-passwd" eg:"$6$bulkhead$DuApHLe9WNL3CY0mb1ldTzDHcD1jKoHqFpVSGpmGUvV8sijlgEiCL0Papyff6QALQCiXLAwKrAeqbUw0eHjam0"`
	// Password in clear. A hash is better.
	PlainTextPasswd Secret `yaml:"plain_text_passwd" alias:"plain-text-passwd" eg:"correct horse"`
	// Let nobody log in with a password.
	LockPasswd bool `yaml:"lock_passwd" alias:"lock-passwd" eg:"false"`
	// Program that runs after login.
	Shell AbsPath `yaml:"shell" def:"/bin/bash" eg:"/bin/bash"`
	// Home directory; else /home/NAME.
	HomeDir AbsPath `yaml:"homedir" eg:"/opt/anna"`
	// Make no home directory.
	NoCreateHome bool `yaml:"no_create_home" alias:"no-create-home" eg:"true"`
	// Make an account for a program: with a low number, without a home.
	System bool `yaml:"system" eg:"true"`
	// Keys that may log in as it.
	SSHAuthorizedKeys KeyList `yaml:"ssh_authorized_keys" alias:"ssh-authorized-keys" eg:"[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1WvrLH3EyZ1Q5W7UYdR4yQw8v9F1s0T2m3c4b5a6d7 anna@desk]"`
	// Day the account expires on.
	ExpireDate Date `yaml:"expiredate" eg:"'2030-12-31'"`
	// Days after which an expired password closes the account.
	Inactive string `yaml:"inactive" eg:"'30'"`
	// Accounts whose keys to fetch.
	SSHImportID Anything `yaml:"ssh_import_id" alias:"ssh-import-id" instead:"put the keys into ssh_authorized_keys"`
	// Turn logins away to another account.
	SSHRedirectUser Anything `yaml:"ssh_redirect_user" alias:"ssh-redirect-user" instead:"give the account no keys"`
	// Leave it out of the records of logins.
	NoLogInit Anything `yaml:"no_log_init" alias:"no-log-init" instead:"large numbers cost no space here"`
	// Account of the snap store.
	SnapUser Anything `yaml:"snapuser" instead:"there is no snap; run programs as containers"`
	// User of SELinux.
	SELinuxUser Anything `yaml:"selinux_user" alias:"selinux-user" instead:"there is no SELinux"`
	// What it may do with doas.
	Doas Anything `yaml:"doas" instead:"use sudo"`
}

func (u *User) setDefaults() { u.LockPasswd = true }

// IsDefault reports whether the entry stands for the system's own account.
func (u User) IsDefault() bool { return u.Name == "default" }

// setNode takes a name alone for an account with that name.
func (u *User) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.ScalarNode {
		return d.decode(n, reflect.ValueOf(&u.Name).Elem(), key)
	}
	return d.decodeStruct(n, reflect.ValueOf(u).Elem(), key)
}

// A UserList is a list of accounts, in which lists of names may stand, one text
// with names and commas, or {NAME: {…}} and {NAME: true}.
type UserList []User

func (l *UserList) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind != yaml.MappingNode {
		return d.decodeList(flat(commaList(n)), reflect.ValueOf(l).Elem(), key)
	}
	pairs, ok := d.pairs(n, key, 0)
	*l = make(UserList, 0, len(pairs))
	for _, p := range pairs {
		user, at := newElem(reflect.TypeFor[User]()), join(key, p.name)
		value := resolve(p.value)
		if !d.spend(value, at) {
			return false
		}
		on, known := parseBool(value.Value)
		switch {
		case value.Kind == yaml.MappingNode:
			value = &yaml.Node{
				Kind: yaml.MappingNode, Line: value.Line, Column: value.Column,
				Content: append([]*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: "name", Line: p.key.Line, Column: p.key.Column}, p.key}, value.Content...),
			}
		case isNull(value) || known && !on:
			continue
		case known:
			value = p.key
		default:
			d.problem(value, at, "expected true, or the keys of an account; does the list lack a -?")
			continue
		}
		if d.decode(value, user, at) {
			*l = append(*l, user.Interface().(User))
		}
	}
	return ok
}

// flat puts the items of the lists in a list in their place.
func flat(n *yaml.Node) *yaml.Node {
	list := *n
	list.Content = nil
	for _, item := range n.Content {
		if in := resolve(item); n.Kind == yaml.SequenceNode && in.Kind == yaml.SequenceNode {
			list.Content = append(list.Content, in.Content...)
		} else {
			list.Content = append(list.Content, item)
		}
	}
	return &list
}

// A Group is a group of accounts.
type Group struct {
	Name    UserName
	Members []UserName
}

func (g *Group) set(d *decoder, p pair, key string) bool {
	if err := g.Name.setText(p.name); err != nil {
		d.problem(p.key, key, "%v", err)
		return false
	}
	var members NameList
	if !isNull(resolve(p.value)) && !members.setNode(d, resolve(p.value), join(key, p.name)) {
		return false
	}
	g.Members = members
	return true
}

// A GroupList is a list of groups, each a name or {NAME: [MEMBER, …]}, one text
// with names and commas, or {NAME: [MEMBER, …]}.
type GroupList []Group

func (l *GroupList) setNode(d *decoder, n *yaml.Node, key string) bool {
	*l = GroupList{}
	if n.Kind == yaml.MappingNode {
		return l.add(d, n, key)
	}
	n = commaList(n)
	if n.Kind != yaml.SequenceNode {
		d.problem(n, key, "expected a list, found %s", kind(n))
		return false
	}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", key, i)
		item = resolve(item)
		switch {
		case !d.spend(item, at):
			return false
		case isNull(item):
		case item.Kind == yaml.ScalarNode:
			g := Group{}
			if d.setText(item, &g.Name, item.Value, at) {
				*l = append(*l, g)
			}
		default:
			l.add(d, item, at)
		}
	}
	return true
}

// add takes the groups of {NAME: [MEMBER, …]}.
func (l *GroupList) add(d *decoder, n *yaml.Node, key string) bool {
	pairs, ok := d.pairs(n, key, 0)
	for _, p := range pairs {
		if g := (Group{}); g.set(d, p, key) {
			*l = append(*l, g)
		}
	}
	return ok
}

// A NameList is a list of names of users or groups, one text with names and
// commas, or a map whose keys are the names.
type NameList []UserName

func (l *NameList) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.MappingNode {
		pairs, ok := d.pairs(n, key, 0)
		n = &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Column: n.Column}
		for _, p := range pairs {
			n.Content = append(n.Content, p.key)
		}
		return d.decodeList(n, reflect.ValueOf(l).Elem(), key) && ok
	}
	return d.decodeList(commaList(n), reflect.ValueOf(l).Elem(), key)
}

// commaList turns a text with commas into a list; anything else it returns as
// it is.
func commaList(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.ScalarNode {
		return n
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Column: n.Column}
	for name := range strings.SplitSeq(n.Value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name, Line: n.Line, Column: n.Column})
		}
	}
	return list
}

// Sudo are rules for sudo: a text or a list; false and null mean none.
type Sudo []string

func (s *Sudo) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
		if on, known := parseBool(n.Value); !known || on {
			d.problem(n, key, `expected rules such as "ALL=(ALL) NOPASSWD:ALL", or false`)
			return false
		}
		*s = nil
		return true
	}
	return (*StringList)(s).setNode(d, n, key)
}

// Chpasswd sets passwords of accounts.
type Chpasswd struct {
	// Ask for a new password at the first login. Nobody is asked here: accounts
	// are recreated at each boot, and would lose the new one.
	Expire bool `yaml:"expire" eg:"false"`
	// Accounts and their passwords.
	Users []NamedPassword `yaml:"users" eg:"[{name: anna, password: '$6$bulkhead$DuApHLe9WNL3CY0mb1ldTzDHcD1jKoHqFpVSGpmGUvV8sijlgEiCL0Papyff6QALQCiXLAwKrAeqbUw0eHjam0'}]"`
	// The same as lines `NAME:PASSWORD`, a text or a list.
	List PasswordList `yaml:"list" eg:"'anna:correct horse'"`
}

// A NamedPassword is the password of an account.
type NamedPassword struct {
	// Name of the account.
	Name UserName `yaml:"name" required:"true" eg:"anna"`
	// Password: a hash, or with `type: text` in clear.
	Password Secret `yaml:"password" eg:"$6$bulkhead$DuApHLe9WNL3CY0mb1ldTzDHcD1jKoHqFpVSGpmGUvV8sijlgEiCL0Papyff6QALQCiXLAwKrAeqbUw0eHjam0"`
	// What `password` is: `hash` or `text`; `RANDOM` makes one and shows it
	// on the console.
	Type PasswordType `yaml:"type" eg:"text"`
}

func (p *NamedPassword) setDefaults() { p.Type = "hash" }

// check refuses a password that nobody could log in with.
func (p *NamedPassword) check() (field, text string) {
	locked := strings.TrimLeft(p.Password.Reveal(), "!*")
	switch {
	case p.Type != "RANDOM" && p.Password == "":
		return "password", "expected a password, or type: RANDOM"
	case p.Type == "hash" && locked != "" && !isHash(locked):
		return "password", "expected a hash such as $6$…, as openssl passwd -6 makes it, or type: text"
	}
	return "", ""
}

func (p *NamedPassword) doubtful() (field, text string) {
	if p.Type == "RANDOM" && p.Password != "" {
		return "password", "has no effect: type RANDOM makes one"
	}
	return "", ""
}

// A PasswordList are lines NAME:PASSWORD.
type PasswordList []NamedPassword

func (l *PasswordList) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.ScalarNode {
		text, ok := d.text(n, key, "lines NAME:PASSWORD")
		if !ok {
			return false
		}
		lines := &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Column: n.Column}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				lines.Content = append(lines.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: line, Line: n.Line, Column: n.Column})
			}
		}
		n = lines
	}
	type line = passwordLine
	var list []line
	if !d.decodeList(n, reflect.ValueOf(&list).Elem(), key) {
		return false
	}
	*l = make(PasswordList, 0, len(list))
	for _, p := range list {
		*l = append(*l, NamedPassword(p))
	}
	return true
}

// A passwordLine is read from a line NAME:PASSWORD.
type passwordLine NamedPassword

func (p *passwordLine) setText(text string) error {
	name, password, found := strings.Cut(text, ":")
	if !found || password == "" || p.Name.setText(name) != nil {
		return errors.New("expected NAME:PASSWORD")
	}
	p.Password, p.Type = Secret(password), "text"
	switch {
	case isHash(password):
		p.Type = "hash"
	case password == "R" || password == "RANDOM":
		p.Password, p.Type = "", "RANDOM"
	}
	return nil
}

// HostKeys are the keys of the SSH server.
type HostKeys struct {
	// Private RSA key.
	RSAPrivate PrivateKey `yaml:"rsa_private" eg:"'-----BEGIN OPENSSH PRIVATE KEY-----…'"`
	// Public RSA key.
	RSAPublic AuthorizedKey `yaml:"rsa_public" eg:"ssh-rsa AAAA…"`
	// Certificate of the RSA key.
	RSACertificate AuthorizedKey `yaml:"rsa_certificate" eg:"ssh-rsa-cert-v01@openssh.com AAAA…"`
	// Private ECDSA key.
	ECDSAPrivate PrivateKey `yaml:"ecdsa_private" eg:"'-----BEGIN OPENSSH PRIVATE KEY-----…'"`
	// Public ECDSA key.
	ECDSAPublic AuthorizedKey `yaml:"ecdsa_public" eg:"ecdsa-sha2-nistp256 AAAA…"`
	// Certificate of the ECDSA key.
	ECDSACertificate AuthorizedKey `yaml:"ecdsa_certificate" eg:"ecdsa-sha2-nistp256-cert-v01@openssh.com AAAA…"`
	// Private Ed25519 key.
	Ed25519Private PrivateKey `yaml:"ed25519_private" eg:"'-----BEGIN OPENSSH PRIVATE KEY-----…'"`
	// Public Ed25519 key.
	Ed25519Public AuthorizedKey `yaml:"ed25519_public" eg:"ssh-ed25519 AAAA…"`
	// Certificate of the Ed25519 key.
	Ed25519Certificate AuthorizedKey `yaml:"ed25519_certificate" eg:"ssh-ed25519-cert-v01@openssh.com AAAA…"`
	// Private DSA key.
	DSAPrivate Secret `yaml:"dsa_private" instead:"SSH has given up DSA; use ed25519_private"`
	// Public DSA key.
	DSAPublic string `yaml:"dsa_public" instead:"SSH has given up DSA; use ed25519_public"`
}
