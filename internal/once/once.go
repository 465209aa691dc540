// Package once keeps what happens once per boot from happening again when the
// program that does it restarts.
package once

import (
	"errors"
	"io/fs"
	"os"
)

// Claim makes a file, in a directory that lives for one boot, and reports
// whether it was not there.
func Claim(path string) (first bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}
