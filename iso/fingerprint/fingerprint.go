// Package fingerprint makes cache keys from embedded source files: a package
// that embeds its own code and hashes it never uses again what an earlier
// version of that code made.
package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
)

// Of returns a digest of all files of the file systems.
func Of(sources ...fs.FS) (string, error) {
	h := sha256.New()
	for _, src := range sources {
		err := fs.WalkDir(src, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := fs.ReadFile(src, p)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%s %x\n", p, sha256.Sum256(raw))
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
