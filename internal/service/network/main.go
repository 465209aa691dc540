// Package network is a placeholder until its owner writes it.
package network

// Main runs the program.
func Main(args []string) int { return 1 }
