package pid1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	lumberjack "gopkg.in/natefinch/lumberjack.v2"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
)

// Sizes of the log: the current file and two older ones.
const (
	logMegabytes = 10
	logBackups   = 2
)

// logFile is the log of this process and of its children. Writes to it always
// succeed: with a full or broken disk lines go to the kernel's log, which takes
// some of them, and nobody stops over it.
type logFile struct {
	mu     sync.Mutex
	w      io.WriteCloser
	closed bool
}

func openLog(path string) *logFile {
	return &logFile{w: &lumberjack.Logger{Filename: path, MaxSize: logMegabytes, MaxBackups: logBackups}}
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return len(p), nil
	}
	if _, err := l.w.Write(p); err != nil {
		_ = kmsg.Write(kmsg.Info, string(p))
	}
	return len(p), nil
}

// Close closes the file, so that its file system can be unmounted. Later
// writes are lost.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.w.Close()
}

// An output takes what a child prints and adds it to the log line by line,
// each with the child's name.
type output struct {
	// pipe is the child's standard output and error. It outlives the child:
	// os/exec would make one for each start, and then wait for every
	// grandchild that still holds it.
	pipe *os.File

	mu   sync.Mutex
	last string
}

// maxLine bounds a line of the log, in bytes; the rest of it becomes the next line.
const maxLine = 64 << 10

func (s *system) newOutput(name string) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &output{pipe: w}
	s.guard(name+" output", func() { o.copy(name, bufio.NewReaderSize(r, maxLine), s.logFile) })
	return o, nil
}

func (o *output) copy(name string, r *bufio.Reader, log io.Writer) {
	for {
		// This process holds the other end, so there is no end of file.
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			text := strings.TrimRight(string(line), "\n")
			fmt.Fprintf(log, "%s: %s\n", name, text)
			o.mu.Lock()
			o.last = text
			o.mu.Unlock()
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// lastLine is the last that was printed: of a program that ended, often why.
func (o *output) lastLine() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}
