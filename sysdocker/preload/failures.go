package preload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
)

const (
	// maxFailures is how often an archive may fail before it is skipped.
	maxFailures = 3
	// failedSuffix marks the file that counts.
	failedSuffix = ".failed"
)

// unfinished is the reason for a try of which nobody knows the end.
const unfinished = "the machine went down, or the orchestrator ended, while it was loaded"

// failures counts the tries of an archive, which has the marks, in a file: a
// line with the marks, one with the count, one with the reason.
type failures struct {
	file, marks string
	before      int
}

// begin counts a try before it is made: one that ends the machine counts, too.
// It fails when there were enough.
func (f *failures) begin() error {
	text, err := os.ReadFile(f.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	marks, rest, _ := strings.Cut(string(text), "\n")
	count, reason, _ := strings.Cut(rest, "\n")
	if marks == f.marks {
		f.before, _ = strconv.Atoi(count) // a damaged file begins again
	}
	if f.before >= maxFailures {
		return fmt.Errorf("skipped, since it has failed %d times: %s; replace it, or remove %s to try again", f.before, strings.TrimSpace(reason), f.file)
	}
	return f.write(f.before+1, unfinished)
}

// end notes how the try ended, and returns err. A try that was called off does
// not count.
func (f *failures) end(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return os.Remove(f.file)
	case ctx.Err() != nil:
		return errors.Join(err, f.write(f.before, ctx.Err().Error()))
	}
	return errors.Join(err, f.write(f.before+1, err.Error()))
}

func (f *failures) write(count int, reason string) error {
	if err := os.MkdirAll(filepath.Dir(f.file), 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(f.file, fmt.Appendf(nil, "%s\n%d\n%s\n", f.marks, count, strings.ReplaceAll(reason, "\n", " ")), 0o644)
}
