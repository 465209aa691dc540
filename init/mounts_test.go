package main

import (
	"slices"
	"testing"
)

func TestTuneMemory(t *testing.T) {
	const minFree = "/proc/sys/vm/min_free_kbytes"
	tests := []struct {
		name, memory, want string
	}{
		{"2 GiB", "MemTotal:        2018924 kB\nMemFree: 1 kB\n", "5683"},
		{"512 MiB", "MemTotal:         480000 kB\n", "2771"},
		{"enough for huge pages", "MemTotal:        8148924 kB\n", "67584"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{files: map[string]string{"/proc/meminfo": tt.memory, minFree: "67584"}}
			if err := tuneMemory(f); err != nil {
				t.Fatal(err)
			}
			if got := f.files[minFree]; got != tt.want {
				t.Errorf("%s = %s; want %s", minFree, got, tt.want)
			}
			if got := f.files["/sys/kernel/mm/transparent_hugepage/enabled"]; got != "madvise" {
				t.Errorf("huge pages: %q; want madvise", got)
			}
		})
	}
}

func TestMakeFirstCgroup(t *testing.T) {
	f := newFake("")
	if err := makeFirstCgroup(f); err != nil || len(f.calls) > 0 {
		t.Errorf("without control groups: %v, %q", err, f.calls)
	}
	f.files["/sys/fs/cgroup/cgroup.controllers"] = "cpuset cpu\n"
	if err := makeFirstCgroup(f); err != nil {
		t.Fatal(err)
	}
	if got := f.files["/sys/fs/cgroup/cgroup.subtree_control"]; got != "+cpu" {
		t.Errorf("last controller = %q; want +cpu", got)
	}
	if got := f.matching("mkdir"); !slices.Equal(got, []string{"mkdir /sys/fs/cgroup/system 0755"}) {
		t.Errorf("directories: %q", got)
	}
}
