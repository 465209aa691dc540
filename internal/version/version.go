// Package version says which build of Bulkhead this is.
package version

// Version is set by the linker (iso/gobuild) and by nobody else.
var Version = "development"
