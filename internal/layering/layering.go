// Package layering holds the test that keeps imports to what the table in
// docs/architecture.md allows. It has no code of its own.
package layering
