package preload

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const (
	// maxWindow is the most that a zstd archive may ask a reader to remember: what
	// zstd makes without --ultra, and with --long.
	maxWindow = 128 << 20
	mib       = 1 << 20
)

// errNoRoom means that an archive is larger than the disk has room for.
var errNoRoom = errors.New("the disk has no room for it")

// Unpack copies an archive of images, compressed or not, to w without its
// compression, for a daemon that would decompress without bounds. It fails as
// soon as the archive and the layers in it, unpacked, take more than room bytes.
// Layers stay as they are: containerd unpacks them with bounds of its own, which
// are wider, so each is read to its end here before.
func Unpack(w io.Writer, r io.Reader, room int64) error {
	plain, _, err := decompress(r)
	if err != nil {
		return err
	}
	left := &budget{room, room}
	in := io.TeeReader(plain, io.MultiWriter(left, w))
	files := tar.NewReader(in)
	for {
		_, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unpackError(err)
		}
		if err := unpackLayer(left, files); err != nil {
			return unpackError(err)
		}
	}
	// The padding behind the end.
	_, err = io.Copy(io.Discard, in)
	return unpackError(err)
}

// unpackLayer takes what a file of an archive takes when it is unpacked from
// left.
func unpackLayer(left *budget, file io.Reader) error {
	plain, compressed, err := decompress(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(left, plain); err != nil {
		return err
	}
	if compressed {
		// What is behind the end of the compressed text.
		_, err = io.Copy(io.Discard, file)
	}
	return err
}

// decompress returns what r reads without compression, of the kinds that
// archives and layers have.
func decompress(r io.Reader) (plain io.Reader, compressed bool, err error) {
	in := bufio.NewReader(r)
	// A file that is shorter has no compression.
	start, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		plain, err = gzip.NewReader(in)
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}), isSkippable(start):
		plain, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	case bytes.HasPrefix(start, []byte("\xfd7zXZ\x00")):
		plain, err = xz.NewReader(in)
	default:
		return in, false, nil
	}
	return plain, true, unpackError(err)
}

// isSkippable reports whether a zstd file begins with a frame of notes.
func isSkippable(start []byte) bool {
	return len(start) >= 4 && start[0]&0xf0 == 0x50 && bytes.Equal(start[1:4], []byte{0x2a, 0x4d, 0x18})
}

func unpackError(err error) error {
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return fmt.Errorf("%w: it is compressed with a window of more than %d MiB; compress it again without --ultra, with --long=27 at most", err, maxWindow/mib)
	}
	return err
}

// A budget is written to until it is used up.
type budget struct{ all, left int64 }

func (b *budget) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, fmt.Errorf("%w: unpacked it takes more than the %d MiB that may be used", errNoRoom, b.all/mib)
	}
	return len(p), nil
}
