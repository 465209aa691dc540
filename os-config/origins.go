package osconfig

import "fmt"

// An Origin is where a value was set.
type Origin struct {
	Source string
	// Line counts from 1; zero where there is no such thing.
	Line int
}

// String is "file:line".
func (o Origin) String() string {
	if o.Line == 0 {
		return o.Source
	}
	return fmt.Sprintf("%s:%d", o.Source, o.Line)
}

// Origins say where values were set, by key; those of defaults are not in it.
// A list has one origin, a map one for each entry.
type Origins map[string]Origin
