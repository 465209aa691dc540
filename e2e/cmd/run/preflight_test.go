package main

import (
	"strings"
	"testing"
)

func TestEnoughDisk(t *testing.T) {
	free := map[string]struct {
		device uint64
		mb     int
	}{"dist": {1, 5000}, "cache": {1, 5000}, "other": {2, 3000}}
	statfs := func(dir string) (uint64, int, error) { return free[dir].device, free[dir].mb, nil }
	tests := []struct {
		name   string
		spaces []space
		want   string // part of the complaint
	}{
		{"enough", []space{{"dist", 1000}, {"cache", 4000}}, ""},
		{"too little on one file system together", []space{{"dist", 1000}, {"cache", 4001}}, "cache: 5000 MB are free, about 5001"},
		{"each on its own", []space{{"dist", 5000}, {"other", 3000}}, ""},
		{"too little on one of two", []space{{"dist", 5000}, {"other", 3001}}, "other: 3000 MB are free"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := enoughDisk(tt.spaces, statfs)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want %q", err, tt.want)
			}
		})
	}
}

func TestEnoughMemory(t *testing.T) {
	tests := []struct {
		name               string
		machine, available int
		building           bool
		want               string
	}{
		{"enough", 2048, 4000, true, ""},
		{"not known", 2048, 0, true, ""},
		{"too little for the machine", 2048, 2400, false, "--memory"},
		{"too little for the build", 512, 2400, true, "the build"},
		{"built already", 512, 2400, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := enoughMemory(tt.machine, tt.building, tt.available)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want %q", err, tt.want)
			}
		})
	}
}
