// Package console is a placeholder until its owner writes it.
package console

// Main runs the program.
func Main(args []string) int { return 1 }
