package accounts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const hash = "$6$bulkhead$DuApHLe9WNL3CY0mb1ldTzDHcD1jKoHqFpVSGpmGUvV8sijlgEiCL0Papyff6QALQCiXLAwKrAeqbUw0eHjam0"

func database() Database {
	return Database{
		Users:  map[string]IDs{"root": {0, 0}, Default: {1100, 1100}, Machine: {1101, 999}},
		Groups: map[string]int{"root": 0, "sudo": 27, "users": 100, "docker": 999, Default: 1100},
		Owners: map[string]int{"/home/rancher": 1100, "/home/bea": 1000},
	}
}

func TestPlan(t *testing.T) {
	tests := []struct {
		name, config string
		commands     []string
		passwords    []Password
		sudoers      string
		homes        []string
		problems     int
	}{
		{name: "nothing", config: "{}"},
		{name: "a user with everything", config: `
users:
- name: anna
  gecos: Anna
  groups: docker, ops
  sudo: ALL=(ALL) NOPASSWD:ALL
  passwd: "` + hash + `"
  lock_passwd: false
  expiredate: '2030-12-31'
`,
			commands: []string{
				"groupadd --gid 1200 ops", "groupadd --gid 1001 anna",
				"useradd --uid 1001 --gid 1001 --no-user-group --no-create-home --home-dir /home/anna --comment Anna --shell /bin/bash --groups docker,ops --expiredate 2030-12-31 anna",
			},
			passwords: []Password{{"anna", hash, true}}, sudoers: "anna ALL=(ALL) NOPASSWD:ALL\n", homes: []string{"/home/anna"},
		},
		{name: "the home keeps the number, lock_passwd the password out", config: "users: [default, {name: bea, passwd: '" + hash + "', primary_group: users}]",
			commands: []string{
				"usermod --password * rancher",
				"useradd --uid 1000 --gid 100 --no-user-group --no-create-home --home-dir /home/bea --shell /bin/bash --password * bea",
			},
			homes: []string{"/home/bea"},
		},
		{name: "a system account", config: "users: [{name: robot, system: true, uid: 300}]",
			commands: []string{
				"groupadd --gid 300 robot",
				"useradd --uid 300 --gid 300 --no-user-group --no-create-home --home-dir /home/robot --shell /usr/sbin/nologin --password * robot",
			},
		},
		{name: "groups with members", config: "groups: [empty, {ops: [rancher, nobody-here]}]",
			commands: []string{"groupadd --gid 1200 empty", "groupadd --gid 1201 ops", "usermod --append --groups ops rancher"}, problems: 1},
		{name: "passwords, the last one counts", config: "password: a\nchpasswd: {list: 'rancher:b', users: [{name: docker, password: c, type: text}, {name: ghost, password: d, type: text}]}",
			passwords: []Password{{Default, "b", false}, {Machine, "c", false}}, problems: 1},
		{name: "random", config: "chpasswd: {users: [{name: rancher, type: RANDOM}]}", passwords: []Password{{Default, "", false}}},
		{name: "no passwords at all", config: "password: a\nrancher: {password: b, disable: [password]}"},
		{name: "root", config: "users: [{name: root, plain_text_passwd: a, lock_passwd: false}]", problems: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := osconfig.Defaults()
			if problems := cfg.Merge("test", []byte(tt.config)); len(problems) > 0 {
				t.Fatal(problems)
			}
			p := MakePlan(cfg, database())
			var commands, homes []string
			for _, argv := range p.Commands {
				commands = append(commands, strings.TrimPrefix(strings.Join(argv, " "), "/usr/sbin/"))
			}
			for _, l := range p.Logins[2:] {
				homes = append(homes, l.Home)
			}
			if diff := cmp.Diff(tt.commands, commands); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			if len(p.Passwords) != len(tt.passwords) {
				t.Fatalf("%d passwords; want %d", len(p.Passwords), len(tt.passwords))
			}
			for i, want := range tt.passwords {
				if p.Passwords[i] != want {
					t.Errorf("password %d is of %s, hash %v; want of %s, hash %v", i, p.Passwords[i].Name, p.Passwords[i].Hash, want.Name, want.Hash)
				}
			}
			if p.Sudoers != tt.sudoers || !cmp.Equal(homes, tt.homes) || len(p.Problems) != tt.problems {
				t.Errorf("sudoers %q, homes %v, problems %q; want %q, %v, %d of them", p.Sudoers, homes, p.Problems, tt.sudoers, tt.homes, tt.problems)
			}
		})
	}
}

func TestPasswordLogin(t *testing.T) {
	tests := []struct {
		config string
		want   bool
	}{
		{"{}", false}, {"password: a", true}, {"{password: a, ssh_pwauth: false}", false}, {"ssh_pwauth: true", true},
		{"{password: a, ssh_pwauth: true, rancher: {disable: [password]}}", false},
	}
	for _, tt := range tests {
		cfg := osconfig.Defaults()
		cfg.Merge("test", []byte(tt.config))
		if got := PasswordLogin(cfg, MakePlan(cfg, database())); got != tt.want {
			t.Errorf("PasswordLogin of %q = %v; want %v", tt.config, got, tt.want)
		}
	}
}

func TestRead(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"etc/passwd": "rancher:x:1100:1100::/home/rancher:/bin/bash\n", "etc/group": "docker:x:999:rancher\n", "home/anna/x": ""} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(root, "/opt/none")
	want := Database{
		Users: map[string]IDs{Default: {1100, 1100}}, Groups: map[string]int{"docker": 999}, Owners: map[string]int{"/home/anna": os.Getuid()},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Read (-want +got):\n%s%v", diff, err)
	}
}

func TestIsCrypt(t *testing.T) {
	tests := []struct {
		password string
		want     bool
	}{
		{"rancher", false}, {"$1", false}, {"$ecret$", false}, {"", false},
		{"$6$saltsalt$Qx0Vd1mZ8dYdyXk3n5u1bQ", true}, {"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7", true},
	}
	for _, tt := range tests {
		if got := isCrypt(tt.password); got != tt.want {
			t.Errorf("isCrypt(%q) = %v; want %v", tt.password, got, tt.want)
		}
	}
}

func TestSince(t *testing.T) {
	plan := func(config string) Plan {
		t.Helper()
		cfg := osconfig.Defaults()
		for _, p := range cfg.Merge("test", []byte(config)) {
			t.Fatal(p)
		}
		db := database()
		db.Users["anna"], db.Users["bob"] = IDs{1000, 1000}, IDs{1001, 1001}
		return MakePlan(cfg, db)
	}
	const before = "users: [{name: anna, passwd: '" + hash + "', lock_passwd: false, ssh_authorized_keys: []}, {name: bob}]\n" +
		"chpasswd: {users: [{name: bob, type: RANDOM}]}\npassword: old horse\n"
	tests := []struct {
		name, config string
		passwords    []string // who gets one
		locked       []string
		logins       []string
	}{
		{name: "the same", config: before, logins: []string{"rancher", "docker", "anna", "bob"}},
		{
			name: "another password", config: before + "rancher: {password: new horse}",
			passwords: []string{"rancher"}, logins: []string{"rancher", "docker", "anna", "bob"},
		},
		{
			name: "an account goes, with keys and password", config: "users: [{name: bob}]\nchpasswd: {users: [{name: bob, type: RANDOM}]}\npassword: old horse",
			locked: []string{"anna"}, logins: []string{"rancher", "docker", "bob", "anna"},
		},
		{name: "no password any more", config: "users: [{name: anna, passwd: '" + hash + "', lock_passwd: false}, {name: bob}]",
			locked: []string{"rancher", "bob"}, logins: []string{"rancher", "docker", "anna", "bob"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := plan(tt.config).Since(plan(before))
			var passwords, locked, logins []string
			for _, p := range got.Passwords {
				passwords = append(passwords, p.Name)
			}
			for _, argv := range got.Commands {
				if strings.Join(argv[:3], " ") == "/usr/sbin/usermod --password *" {
					locked = append(locked, argv[3])
				}
			}
			for _, l := range got.Logins {
				logins = append(logins, l.Name)
			}
			if diff := cmp.Diff([][]string{tt.passwords, tt.locked, tt.logins}, [][]string{passwords, locked, logins}); diff != "" {
				t.Errorf("passwords, locked, logins (-want +got):\n%s", diff)
			}
		})
	}
}
