// Package habits holds the tests that keep what CONTRIBUTING.md asks of
// documents: words and the list of decisions. It has no code of its own.
package habits
