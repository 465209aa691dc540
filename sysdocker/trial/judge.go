package trial

import "time"

// A Verdict is what a judge says.
type Verdict int

// The verdicts.
const (
	Undecided Verdict = iota
	Good
	Failed
)

// A Judge decides about a trial: what is well for Settle without a break is good,
// what is not by Limit after the start of the machine has failed.
type Judge struct {
	Settle, Limit time.Duration
	// since is when all became well.
	since time.Duration
	well  bool
}

// Decide takes in what is missing some time after the start of the machine.
func (j *Judge) Decide(uptime time.Duration, missing []string) Verdict {
	if len(missing) > 0 {
		j.well = false
		if uptime >= j.Limit {
			return Failed
		}
		return Undecided
	}
	if !j.well {
		j.well, j.since = true, uptime
	}
	// What has become well in time may settle after the limit.
	if uptime-j.since >= j.Settle {
		return Good
	}
	return Undecided
}
