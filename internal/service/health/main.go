// Package health is a placeholder until its owner writes it.
package health

// Main runs the program.
func Main(args []string) int { return 1 }
