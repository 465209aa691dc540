// Package habits holds the tests that keep what CONTRIBUTING.md asks of
// documents: words, links, the lists of tasks, decisions and dependencies. It
// has no code of its own.
package habits
