// Package userdocker is a placeholder until its owner writes it.
package userdocker

// Main runs the program.
func Main(args []string) int { return 1 }
