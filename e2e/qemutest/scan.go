package qemutest

import (
	"fmt"
	"regexp"
)

// trouble are the console texts that mean a broken guest wherever they appear.
// A stalled RCU is not among them: an emulated CPU on a busy host does that.
var trouble = regexp.MustCompile(`` +
	`Kernel panic - not syncing` +
	`|\bOops:` +
	`|WARNING: CPU: \d+ PID: \d+ at` +
	`|rejecting I/O to offline device` +
	`|EXT4-fs error` +
	`|Aborting journal` +
	`|Remounting filesystem read-only` +
	`|Delayed block allocation failed` +
	`|UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY` +
	`|device-mapper: verity: .* is corrupted` +
	`|I/O error, dev` +
	`|Buffer I/O error` +
	`|mm/pgtable-generic\.c:\d+: bad p.d` +
	`|^panic: ` + // Go
	`|\bpanic: runtime error` +
	`|fatal error: ` + // Go
	`|SIGSEGV` +
	`|segfault at` +
	`|core dump` +
	`|Out of memory: Killed` +
	`|apparmor="DENIED"` +
	`|audit: .*avc:\s+denied` +
	`|hung task` +
	`|blocked for more than` +
	`|level=(fatal|panic)\b` +
	`|bulkhead: FAILED`)

// A TroubleError is a console line that says the guest is broken.
type TroubleError struct{ Line string }

func (e *TroubleError) Error() string {
	return fmt.Sprintf("trouble on the console: %s", e.Line)
}

// scan returns the trouble that a console line reports, if any, except what one of
// the allowed patterns matches.
func scan(line string, allow []*regexp.Regexp) error {
	if !trouble.MatchString(line) {
		return nil
	}
	for _, re := range allow {
		if re.MatchString(line) {
			return nil
		}
	}
	return &TroubleError{Line: line}
}
