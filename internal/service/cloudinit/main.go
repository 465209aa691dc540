// Package cloudinit is a placeholder until its owner writes it.
package cloudinit

// Main runs the program.
func Main(args []string) int { return 1 }
