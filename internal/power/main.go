// Package power is a placeholder until its owner writes it.
package power

// Main runs the program.
func Main(args []string) int { return 1 }
