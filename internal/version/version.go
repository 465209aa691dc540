// Package version says which build of Bulkhead this is. Its variables are set by
// the linker (iso/gobuild) and by nobody else.
package version

import (
	"strconv"
	"time"
)

// Version is the release.
var Version = "development"

// built is the time of the commit that was built, in seconds of Unix time.
var built = "0"

// Built returns when the sources of this build were committed: the time is
// later than that.
func Built() time.Time {
	seconds, err := strconv.ParseInt(built, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
