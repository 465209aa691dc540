// Package orchestrator is a placeholder until its owner writes it.
package orchestrator

// Main runs the program.
func Main(args []string) int { return 1 }
