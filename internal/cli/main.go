// Package cli is a placeholder until its owner writes it.
package cli

// Main runs the program.
func Main(args []string) int { return 1 }
