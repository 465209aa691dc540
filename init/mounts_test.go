package main

import (
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
