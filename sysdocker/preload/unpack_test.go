package preload

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// The test's own binary is the child.
func TestMain(m *testing.M) {
	if os.Args[0] == UnpackProgram {
		os.Exit(UnpackMain(os.Args))
	}
	os.Exit(m.Run())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func packed(t *testing.T, kind string, plain io.Reader) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "xz":
		w, err = xz.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithWindowSize(8<<20))
	case "bomb": // As by zstd --ultra --long=29.
		w, err = zstd.NewWriter(&out, zstd.WithWindowSize(zstd.MaxWindowSize))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func archive(t *testing.T, layer []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, file := range []struct {
		name string
		text []byte
	}{{"manifest.json", []byte("[]")}, {"blobs/sha256/layer", layer}} {
		if err := w.WriteHeader(&tar.Header{Name: file.name, Mode: 0o644, Size: int64(len(file.text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(file.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestUnpack(t *testing.T) {
	small := archive(t, bytes.Repeat([]byte("layer"), 1000))
	zeroes := func(mebibytes int64) io.Reader { return io.LimitReader(zeros{}, mebibytes*mib) }
	bomb := packed(t, "bomb", zeroes(600))
	if len(bomb) > mib {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	gzipLayer := archive(t, packed(t, "gzip", zeroes(100)))
	for _, tt := range []struct {
		name    string
		archive []byte
		room    int64
		want    []byte // nil if it fails
		fails   string
	}{
		{"plain", small, mib, small, ""},
		{"gzip", packed(t, "gzip", bytes.NewReader(small)), mib, small, ""},
		{"zstd", packed(t, "zstd", bytes.NewReader(small)), mib, small, ""},
		{"xz", packed(t, "xz", bytes.NewReader(small)), mib, small, ""},
		{"layer with gzip", gzipLayer, 101 * mib, gzipLayer, ""},
		{"layer larger than the disk", gzipLayer, 90 * mib, nil, "more than the 90 MiB"},
		{"larger than the disk", small, 4096, nil, "no room"},
		{"window", bomb, 1 << 40, nil, "--long=27"},
		{"window of a layer", archive(t, bomb), 1 << 40, nil, "--long=27"},
		{"window of a layer in a zstd archive", packed(t, "zstd", bytes.NewReader(archive(t, bomb))), 1 << 40, nil, "--long=27"},
		{"cut off", packed(t, "gzip", bytes.NewReader(small))[:40], mib, nil, "unexpected EOF"},
		{"text", []byte("no archive, but long enough to look at its start"), mib, nil, "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var direct bytes.Buffer
			directErr := Unpack(&direct, bytes.NewReader(tt.archive), tt.room)
			// The same in a child.
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", strconv.FormatInt(tt.room, 10))
			cmd.Args[0] = UnpackProgram
			in, err := startChild(cmd, bytes.NewReader(tt.archive))
			if err != nil {
				t.Fatal(err)
			}
			child, childErr := io.ReadAll(in)
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			for how, err := range map[string]error{"direct": directErr, "child": childErr} {
				if tt.fails == "" && err != nil || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
					t.Errorf("%s: %v, want %q", how, err, tt.fails)
				}
			}
			if tt.fails == "" && (!bytes.Equal(direct.Bytes(), tt.want) || !bytes.Equal(child, tt.want)) {
				t.Errorf("%d and %d bytes, want %d", direct.Len(), len(child), len(tt.want))
			}
		})
	}
}

// What the kernel ends is said in words, and who stops reading leaves no process.
func TestChildEnds(t *testing.T) {
	in, err := startChild(exec.CommandContext(t.Context(), "sh", "-c", "kill -KILL $$"), strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(in); err == nil || !strings.Contains(err.Error(), "more than 320 MiB of memory") {
		t.Error(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", strconv.Itoa(1<<40))
	cmd.Args[0] = UnpackProgram
	if in, err = startChild(cmd, bytes.NewReader(archive(t, make([]byte, 8*mib)))); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := in.Close(); err != nil || cmd.ProcessState == nil {
		t.Errorf("Close() = %v, process %v", err, cmd.ProcessState)
	}
}

func TestUnpackCgroup(t *testing.T) {
	root := t.TempDir()
	group, err := unpackCgroup(root)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	for file, want := range map[string]string{"memory.max": strconv.Itoa(320 << 20), "memory.swap.max": "0"} {
		if got, err := os.ReadFile(filepath.Join(group.Name(), file)); string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}

func TestFailures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x", "a.tar.failed")
	try := func(ctx context.Context, marks string, err error) error {
		f := failures{file: file, marks: marks}
		if err := f.begin(); err != nil {
			return err
		}
		return f.end(ctx, err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	bad := errors.New("bad\nlayer")
	for i, ctx := range []context.Context{t.Context(), stopped, t.Context()} {
		if err := try(ctx, "1", bad); !errors.Is(err, bad) {
			t.Errorf("try %d: %v", i, err)
		}
	}
	// A try that ends the machine.
	if err := (&failures{file: file, marks: "1"}).begin(); err != nil {
		t.Error(err)
	}
	if err := try(t.Context(), "1", nil); err == nil || !strings.Contains(err.Error(), "3 times: "+unfinished) || !strings.Contains(err.Error(), "remove "+file) {
		t.Error(err)
	}
	if err := try(t.Context(), "2", nil); err != nil {
		t.Errorf("another archive: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what worked has still %v", err)
	}
}
