package qemutest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// writeLog makes a log of requests; data is repeated to fill a request's sectors.
func writeLog(t *testing.T, entries []logEntry, data []byte) string {
	t.Helper()
	var log bytes.Buffer
	sector := func(fields ...uint64) {
		s := make([]byte, logSector)
		for i, f := range fields {
			binary.LittleEndian.PutUint64(s[8*i:], f)
		}
		log.Write(s)
	}
	sector(logMagic, 1, 0, logSector)
	for i, e := range entries {
		sector(e.Sector, e.Sectors, e.Flags, 0)
		if e.Flags&logDiscard == 0 {
			log.Write(bytes.Repeat(data[i:i+1], int(e.Sectors)*logSector))
		}
	}
	log.Write(make([]byte, 4*logSector))
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, log.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWriteLogCuts(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	if err := os.WriteFile(base, bytes.Repeat([]byte("."), 8*logSector), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := OpenWriteLog(writeLog(t, []logEntry{
		{Sector: 0, Sectors: 2},           // a
		{Flags: logFlush},                 //
		{Sector: 2, Sectors: 1},           // c: may be lost
		{Sector: 3, Sectors: 1, Flags: 2}, // d: forced to the disk
		{Sector: 0, Sectors: 1, Flags: 4}, // discarded
		{Sector: 4, Sectors: 4},           // f: may be torn
	}, []byte("a-cd-f")), base)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if n, err := l.Len(); n != 6 || err != nil {
		t.Fatalf("Len = %d, %v; want 6", n, err)
	}
	image := filepath.Join(t.TempDir(), "image")
	// cut returns one byte for each sector.
	cut := func(n int, seed uint64) string {
		t.Helper()
		if err := l.Cut(t.Context(), image, n, rand.New(rand.NewPCG(seed, 0))); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		var first []byte
		for i := 0; i < len(raw); i += logSector {
			first = append(first, raw[i])
		}
		return string(first)
	}
	check := func() {
		t.Helper()
		seen := make(map[string]bool)
		for seed := range uint64(60) {
			got := cut(6, seed)
			seen[got] = true
			if got[1] != 'a' || got[3] != 'd' {
				t.Fatalf("what was flushed or forced is gone: %q", got)
			}
		}
		for _, want := range []string{"aacdffff", "aa.d....", "\x00acdffff", "aa.df..."} {
			if !seen[want] {
				t.Errorf("no cut left %q; there were %v", want, seen)
			}
		}
	}
	if got := cut(2, 0); got != "aa......" {
		t.Errorf("after the flush: %q", got)
	}
	check()
	if err := l.Settle(); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestWriteLogIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWriteLog(path, ""); err == nil {
		t.Error("zeros are taken for a log")
	}
}

func TestExt4FileIsRead(t *testing.T) {
	Need(t, "mkfs.ext4", "e2fsck", "debugfs")
	dir := t.TempDir()
	image, file := filepath.Join(dir, "image"), filepath.Join(dir, "file")
	if err := MakeExt4(t.Context(), image, "X", 64, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("tea\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), "debugfs", "-w", "-R", "write "+file+" hold", image); err != nil {
		t.Fatal(err)
	}
	if text, err := Ext4File(t.Context(), image, "/hold"); err != nil || string(text) != "tea\n" {
		t.Errorf("Ext4File = %q, %v; want tea", text, err)
	}
	if text, _ := Ext4File(t.Context(), image, "/none"); len(text) > 0 {
		t.Errorf("a file that is not there has %q", text)
	}
}
