package orchestrator

import "slices"

// A State is what a unit is doing. ros service list prints it as it is.
type State string

// The states; docs/orchestrator.md has a drawing.
const (
	Waiting   State = "waiting"   // for services that it needs, or for a slot
	Preparing State = "preparing" // image and container
	Starting  State = "starting"  // the container runs and is not ready yet
	Late      State = "late"      // the same, and nobody waits for it any longer
	Running   State = "running"   // ready
	Retrying  State = "retrying"  // after a pause: it failed
	Stopped   State = "stopped"   // nobody wants it to run
	Done      State = "done"      // as wanted, and left to its daemon
)

// follow are the states that may come after one. A unit begins each attempt in
// Waiting.
var follow = map[State][]State{
	Waiting:   {Preparing, Starting, Late, Retrying, Stopped, Done},
	Preparing: {Waiting, Starting, Late, Retrying, Stopped, Done},
	Starting:  {Running, Late, Retrying, Waiting, Done},
	Late:      {Running, Retrying, Waiting, Done},
	Running:   {Retrying, Waiting},
	Retrying:  {Waiting},
	Stopped:   {Waiting},
	Done:      {Waiting},
}

// mayFollow reports whether a unit in the first state may go on in the second.
func mayFollow(from, to State) bool { return from == to || slices.Contains(follow[from], to) }
