package accounts

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A Database is what accounts there are, before the plan.
type Database struct {
	// Users are the numbers of accounts and of their own groups by name,
	// Groups those of groups.
	Users  map[string]IDs
	Groups map[string]int
	// Owners are whom directories belong to, by path: all of /home, and other
	// homes that the configuration names. They are on the state partition, so
	// an account keeps its number for as long as it has a home.
	Owners map[string]int
}

// IDs are the numbers of a user and of its own group.
type IDs struct{ UID, GID int }

// homes is where accounts have their homes that name none.
const homes = "/home"

// Read reads the database of a root file system, "/" on the running system.
// more are directories outside of /home whose owners count.
func Read(root string, more ...string) (Database, error) {
	db := Database{Users: map[string]IDs{}, Groups: map[string]int{}, Owners: map[string]int{}}
	passwd, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil {
		return db, err
	}
	group, err := os.ReadFile(filepath.Join(root, "etc/group"))
	if err != nil {
		return db, err
	}
	for line := range strings.Lines(string(passwd)) {
		if f := strings.Split(line, ":"); len(f) > 3 {
			db.Users[f[0]] = IDs{number(f[2]), number(f[3])}
		}
	}
	for line := range strings.Lines(string(group)) {
		if f := strings.Split(line, ":"); len(f) > 2 {
			db.Groups[f[0]] = number(f[2])
		}
	}
	entries, err := os.ReadDir(filepath.Join(root, homes))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return db, err
	}
	for _, e := range entries {
		more = append(more, filepath.Join(homes, e.Name()))
	}
	for _, dir := range more {
		info, err := os.Lstat(filepath.Join(root, dir))
		if err != nil || !info.IsDir() {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			db.Owners[dir] = int(stat.Uid)
		}
	}
	return db, nil
}

// number returns the number of a field, or -1.
func number(field string) int {
	n, err := strconv.Atoi(field)
	if err != nil {
		return -1
	}
	return n
}

// A pool hands out numbers that nobody has.
type pool map[int]bool

func newPool(db Database) pool {
	p := pool{}
	for _, ids := range db.Users {
		p[ids.UID] = true
	}
	for _, gid := range db.Groups {
		p[gid] = true
	}
	for _, uid := range db.Owners {
		p[uid] = true
	}
	return p
}

// take returns the first free number from low on. The same numbers serve users
// and groups, so that a user's own group can always have the user's number.
func (p pool) take(low int) int {
	for n := low; ; n++ {
		if !p[n] {
			p[n] = true
			return n
		}
	}
}
