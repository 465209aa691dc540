// Package osconfig is the configuration of a machine: its types, its defaults,
// and how it is read and merged from the places it may be written in. Nothing
// in it changes the machine or talks to anything but files.
//
// Its files have three parts. The keys, a type for each map:
//
//	types.go       the top level, and what the tags of fields mean
//	rancher.go     rancher.*; engine.go and network.go have its large sections
//	accounts.go    users, groups, passwords
//	storage.go     disks, file systems, mounts, swap
//	system.go      time, certificates, power_state
//	service.go     rancher.services.*
//	defaults.go    the values that are not zero
//	instead.go     keys of other systems: what to use instead; unread.go has
//	               the same for files of write_files
//
// Types of values, which check themselves:
//
//	values.go      one text: modes, times, sizes, names of files
//	netvalues.go   host names, addresses, interfaces
//	secrets.go     what must not be shown, keys and certificates
//	notations.go   what has more than one notation in YAML, such as a list or a
//	               text; compose.go has those of services
//
// And what works with any key, by reflection:
//
//	load.go        all sources, merged; metadata.go, included.go and
//	               kernelline.go have some of them
//	decode.go      YAML to values, with problems (problem.go, syntax.go) and
//	               where each value was set (origins.go)
//	encode.go      values to YAML and JSON
//	keys.go        the tags of a type; lookup.go finds a key by its path
//	edit.go        ros config set; edittext.go changes the text and keeps the rest
//	changed.go     what differs between two configurations; nondefault.go, and
//	               from the defaults
//	schema.go      schema.json; generate_test.go makes it, and docs/config.md
package osconfig
